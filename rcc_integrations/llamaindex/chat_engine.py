"""`RCCChatEngine`: conversations about an index's memory."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing, suppress
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    MessageRole,
)
from llama_index.core.chat_engine.types import AgentChatResponse, BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer
from llama_index.core.schema import NodeWithScore
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.messages import answer_of, figures
from rcc_integrations.llamaindex.nodes import window_nodes
from rcc_integrations.llamaindex.source import MemorySource


class RCCChatEngine(BaseChatEngine):
    """A conversation about documents: the history stays uncompressed, and the documents stay in memory.

    A question that fails leaves the history as it was.

    Args:
        index: The index.
        llm: The LLM that answers.
        memory: The history; limited to half of the decoder's positions if not given.
        chat_history: The conversation so far.
        system_prompt: System prompt of every conversation.
        similarity_top_k: How many windows `source_nodes` names.
        filters: Answer only from documents whose metadata matches.
        doc_ids: Answer only from these documents.
        max_windows: Maximum number of windows in memory; the model's own setting if not given.
        grounded: Restrict answers to verbatim spans of the documents; the LLM's own setting if not given.
        expand: How many of the best windows are inserted as uncompressed text; the LLM's own setting if not given.
        min_confidence: Abstain (`not stated`) below this confidence; the LLM's own setting if not given.
    """

    def __init__(
        self,
        index: MemorySource,
        llm: RCCLLM,
        memory: BaseMemory | None = None,
        chat_history: list[ChatMessage] | None = None,
        system_prompt: str | None = None,
        similarity_top_k: int = 3,
        filters: MetadataFilters | None = None,
        doc_ids: list[str] | None = None,
        max_windows: int | None = None,
        grounded: bool | None = None,
        expand: int | None = None,
        min_confidence: float | None = None,
    ) -> None:
        self._index, self._llm, self._filters, self._doc_ids = index, llm, filters, doc_ids
        self._settings: dict[str, Any] = {"max_windows": max_windows, "sources": similarity_top_k}
        given = {"grounded": grounded, "expand": expand, "min_confidence": min_confidence}
        self._settings |= {name: value for name, value in given.items() if value is not None}
        self._memory = memory or ChatMemoryBuffer.from_defaults(
            token_limit=llm.metadata.context_window // 2, tokenizer_fn=llm.token_ids
        )
        if chat_history is not None:
            self._memory.set(chat_history)
        self._system = [ChatMessage(system_prompt, role=MessageRole.SYSTEM)] if system_prompt else []

    def chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        """Answer a message.

        Args:
            message: The user's message.
            chat_history: Replaces the history.
        """
        if chat_history is not None:
            self._memory.set(chat_history)
        said = ChatMessage(message, role=MessageRole.USER)
        response = self._llm.chat(self._messages(said, self._memory.get(message)), **self._chosen())
        self._memory.put_messages([said, response.message])
        return _reply(response)

    async def achat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        """Answer a message without blocking the event loop; see `chat`."""
        said, messages, chosen = await self._abegin(message, chat_history)
        response = await self._llm.achat(messages, **chosen)
        await self._memory.aput_messages([said, response.message])
        return _reply(response)

    def stream_chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> StreamingAgentChatResponse:
        """Stream the answer to a message; the history is updated when the stream ends or is closed."""
        if chat_history is not None:
            self._memory.set(chat_history)
        said = ChatMessage(message, role=MessageRole.USER)
        messages, chosen = self._messages(said, self._memory.get(message)), self._chosen()
        sources = self._sources(messages, chosen)
        chunks = self._llm.stream_chat(messages, **chosen)

        def remembered() -> ChatResponseGen:
            last = None
            with closing(chunks), suppress(GeneratorExit):
                for last in chunks:
                    yield last
            if last is not None:
                self._memory.put_messages([said, last.message])

        # Not through LlamaIndex's own thread, whose reader spins while it waits.
        return StreamingAgentChatResponse(chat_stream=remembered(), source_nodes=sources, is_writing_to_memory=False)

    async def astream_chat(
        self, message: str, chat_history: list[ChatMessage] | None = None
    ) -> StreamingAgentChatResponse:
        """Stream the answer to a message without blocking the event loop; see `stream_chat`."""
        said, messages, chosen = await self._abegin(message, chat_history)
        sources = await asyncio.to_thread(self._sources, messages, chosen)
        chunks = await self._llm.astream_chat(messages, **chosen)

        async def remembered() -> ChatResponseAsyncGen:
            last = None
            async with aclosing(chunks):
                with suppress(GeneratorExit):
                    async for last in chunks:
                        yield last
            if last is not None:
                await self._memory.aput_messages([said, last.message])

        return StreamingAgentChatResponse(achat_stream=remembered(), source_nodes=sources, is_writing_to_memory=False)

    def reset(self) -> None:
        """Clear the history."""
        self._memory.reset()

    @property
    def chat_history(self) -> list[ChatMessage]:
        """The history."""
        found: list[ChatMessage] = self._memory.get_all()
        return found

    async def _abegin(
        self, message: str, chat_history: list[ChatMessage] | None
    ) -> tuple[ChatMessage, list[ChatMessage], dict[str, Any]]:
        if chat_history is not None:
            await self._memory.aset(chat_history)
        said = ChatMessage(message, role=MessageRole.USER)
        messages = self._messages(said, await self._memory.aget(message))
        return said, messages, await asyncio.to_thread(self._chosen)

    def _messages(self, said: ChatMessage, history: list[ChatMessage]) -> list[ChatMessage]:
        return [*self._system, *history, said]

    def _chosen(self) -> dict[str, Any]:
        documents = self._index.choose(self._filters, self._doc_ids)
        return {**self._settings, "collection": self._index.collection, "documents": documents}

    def _sources(self, messages: list[ChatMessage], chosen: dict[str, Any]) -> list[NodeWithScore]:
        return window_nodes(self._llm.sources_of(messages, **chosen))


def _reply(response: ChatResponse) -> AgentChatResponse:
    answer = answer_of(response)
    return AgentChatResponse(answer.text, source_nodes=window_nodes(answer.sources), metadata=figures(answer))
