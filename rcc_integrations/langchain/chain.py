"""A question-answering chain over a collection, in the shape of LangChain's `create_retrieval_chain`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.runnables import Runnable, RunnableGenerator, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.utils import AddableDict

from rcc_integrations.errors import ConfigError
from rcc_integrations.langchain.chat_model import RCCChatModel
from rcc_integrations.langchain.index import window_document
from rcc_integrations.reader.answer import Source

_MESSAGE = "message"


def create_memory_chain(model: RCCChatModel) -> Runnable[dict[str, Any], dict[str, Any]]:
    """Build a question-answering chain, which also returns the windows that an answer is based on.

    Args:
        model: A chat model with a collection.

    Returns:
        A Runnable that takes `{"input": question, "chat_history": messages}` (the history is optional) and returns the
        same with `answer`, a text, and `context`, a list of documents. While streaming, the answer arrives in pieces.

    Raises:
        ConfigError: The model has no collection.
    """
    if model.collection is None:
        raise ConfigError("The chain answers from memory: give the model a collection.")
    asked = RunnableLambda(_messages) | model
    given: Runnable[Any, Any] = RunnablePassthrough.assign(**{_MESSAGE: asked})
    return given | RunnableGenerator(_shaped, _ashaped)


def _messages(given: dict[str, Any]) -> list[Any]:
    if not isinstance(given.get("input"), str) or not given["input"].strip():
        raise ConfigError(f'The chain takes {{"input": question}}; it was given {given!r:.120}.')
    return [*(given.get("chat_history") or []), HumanMessage(given["input"])]


def _shaped(chunks: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for chunk in chunks:
        yield from _shape(chunk)


async def _ashaped(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    async for chunk in chunks:
        for shaped in _shape(chunk):
            yield shaped


def _shape(chunk: dict[str, Any]) -> Iterator[AddableDict]:
    """Put a message's words under `answer`, and the sources that its end names under `context`."""
    for key, value in chunk.items():
        if key != _MESSAGE:
            yield AddableDict({key: value})
            continue
        if value.text or not isinstance(value, AIMessageChunk):
            yield AddableDict(answer=str(value.text))
        if "sources" in value.response_metadata:
            sources = [Source(**source) for source in value.response_metadata["sources"]]
            yield AddableDict(context=[window_document(source) for source in sources])
