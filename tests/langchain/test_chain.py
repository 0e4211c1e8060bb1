from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from rcc_integrations import RCCReader
from rcc_integrations.errors import ConfigError
from rcc_integrations.langchain import RCCChatModel, create_memory_chain


@pytest.fixture
def chain(reader: RCCReader) -> Any:
    return create_memory_chain(RCCChatModel(reader=reader, collection="isle", max_tokens=16, min_tokens=6))


def test_the_shape_is_that_of_a_retrieval_chain(chain: Any, reader: RCCReader) -> None:
    found = chain.invoke({"input": "Who approves leave?"})
    assert set(found) == {"input", "answer", "context"}
    answer = reader.ask("isle", "Who approves leave?", max_new_tokens=16, min_new_tokens=6)
    assert found["answer"] == answer.text
    assert [document.page_content for document in found["context"]] == [source.text for source in answer.sources]


async def test_streaming_brings_the_answer_in_pieces_and_then_the_context(chain: Any) -> None:
    given = {"input": "Who approves leave?"}
    whole = chain.invoke(given)
    chunks = list(chain.stream(given))
    assert sum("answer" in chunk for chunk in chunks) > 2
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert total == whole
    assert "".join([chunk.get("answer", "") async for chunk in chain.astream(given)]) == whole["answer"]
    assert await chain.ainvoke(given) == whole


def test_history_stands_before_the_question(chain: Any) -> None:
    history = [HumanMessage("Who approves leave?"), AIMessage("The warden.")]
    found = chain.invoke({"input": "And who sails?", "chat_history": history})
    assert found["chat_history"] == history
    assert found["answer"] != chain.invoke({"input": "And who sails?"})["answer"]


def test_wrong_input_is_named(chain: Any, reader: RCCReader) -> None:
    for given in ({"question": "Who?"}, {"input": " "}, {"input": 3}):
        with pytest.raises(ConfigError, match="The chain takes"):
            chain.invoke(given)
    with pytest.raises(ConfigError, match="collection"):
        create_memory_chain(RCCChatModel(reader=reader))
