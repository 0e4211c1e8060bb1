"""The prebuilt agent of langgraph, over a tiny random model: its first turn is a forced call."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from rcc_integrations import RCCReader
from rcc_integrations.langchain import RCCChatModel

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
