"""The prebuilt agent of langgraph, over a tiny random model: its first turn is a forced call."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel

from rcc_integrations import RCCReader
from rcc_integrations.langchain import RCCChatModel
from tests.tiny import tiny_model

pytest.importorskip("langgraph.prebuilt")

ASKED: list[str] = []


@tool
def tide(place: Literal["Holm", "Varde"]) -> str:
    """Tell the tide at a place."""
    ASKED.append(place)
    return "high"


# langgraph points to its successor in the `langchain` package, which is no dependency here.
@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_an_agent_calls_its_tool_and_then_answers(reader: RCCReader) -> None:
    from langgraph.prebuilt import create_react_agent

    ASKED.clear()
    model = RCCChatModel(reader=reader, collection="isle", max_tokens=160, min_tokens=4)

    def chosen(state: Any, runtime: Any) -> Any:
        called = any(isinstance(message, ToolMessage) for message in state["messages"])
        return model.bind_tools([tide], tool_choice="none" if called else "tide")

    agent = create_react_agent(chosen, [tide])
    _, call, result, answer = agent.invoke({"messages": [HumanMessage("Is it high tide at Holm?")]})["messages"]
    assert isinstance(call, AIMessage) and call.tool_calls[0]["args"]["place"] == ASKED[0]
    assert result.content == "high" and result.tool_call_id == call.tool_calls[0]["id"]
    assert answer.text and not answer.tool_calls
    assert answer.response_metadata["collection"] == "isle"


def test_the_newer_agent_calls_its_tools_and_ends_with_an_object(tmp_path: Path) -> None:
    agents = pytest.importorskip("langchain.agents")

    class Report(BaseModel):
        """A report."""

        high: bool

    with RCCReader.open(tmp_path / "store", model=tiny_model(base={"max_position_embeddings": 4096})) as reader:
        model = RCCChatModel(reader=reader, max_tokens=120, min_tokens=0, temperature=1.0, seed=5)
        for format in (Report, agents.structured_output.ToolStrategy(Report)):
            agent = agents.create_agent(model, tools=[tide], response_format=format)
            state = agent.invoke({"messages": [HumanMessage("Is it high tide at Holm?")]}, {"recursion_limit": 60})
            assert isinstance(state["structured_response"], Report)
