"""`RCCChatEngine`: conversations about an index's memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    MessageRole,
)
from llama_index.core.base.response.schema import Response
from llama_index.core.chat_engine.types import AgentChatResponse, BaseChatEngine, StreamingAgentChatResponse
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.llamaindex import events
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.messages import answer_of, figures
from rcc_integrations.llamaindex.nodes import window_nodes
from rcc_integrations.llamaindex.query_engine import EMPTY
from rcc_integrations.llamaindex.reading import WindowChoice, metadata_of, widest
from rcc_integrations.llamaindex.source import MemorySource

#: What it takes itself; settings of the LLM beside.
OWN_CHAT = ("memory", "chat_history", "system_prompt", "similarity_top_k", "filters", "doc_ids", "node_ids",
            "node_postprocessors", "callback_manager")  # fmt: skip


class RCCChatEngine(BaseChatEngine):
    """A conversation about documents: the history stays uncompressed, and the documents stay in memory.

    A question that fails leaves the history as it was.

    Args:
        index: The index.
        llm: The LLM that answers.
        memory: The history; limited to half of the decoder's positions if not given.
        chat_history: The conversation so far.
        system_prompt: System prompt of every conversation.
        similarity_top_k: How many windows an answer names in `source_nodes` (3 if not given).
        filters: Answer only from documents whose metadata matches.
        doc_ids: Answer only from these documents.
        node_ids: Answer only from these nodes.
        node_postprocessors: Choose among the `similarity_top_k` windows that fit best: what they leave is read.
        callback_manager: LlamaIndex's callback manager.
        **settings: Settings of `RCCLLM` for this conversation: `max_tokens`, `max_windows`, `grounded`, ….
    """

    def __init__(
        self,
        index: MemorySource,
        llm: RCCLLM,
        memory: BaseMemory | None = None,
        chat_history: list[ChatMessage] | None = None,
        system_prompt: str | None = None,
        similarity_top_k: int | None = None,
        filters: MetadataFilters | None = None,
        doc_ids: list[str] | None = None,
        node_ids: Sequence[str] | None = None,
        node_postprocessors: Sequence[Any] | None = None,
        callback_manager: Any = None,
        **settings: Any,
    ) -> None:
        settings.pop("verbose", None)
        self._llm, self._given, self._top_k = llm, settings, similarity_top_k
        self._choice = WindowChoice(index, filters, doc_ids, node_ids, list(node_postprocessors or ()))
        self.callback_manager = callback_manager or llm.callback_manager
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
        turn = self._turn(message, self._memory.get(message))
        if turn.empty:
            return self._nothing(turn)
        with events.synthesis(self.callback_manager, QueryBundle(message)) as done:
            response = self._llm.chat(turn.messages, **turn.settings)
            self._memory.put_messages([turn.said, response.message])
            reply = _reply(response, turn)
            done(Response(reply.response, reply.source_nodes, reply.metadata))
        return reply

    async def achat(self, message: str, chat_history: list[ChatMessage] | None = None) -> AgentChatResponse:
        """Answer a message without blocking the event loop; see `chat`."""
        turn = await self._aturn(message, chat_history)
        if turn.empty:
            return self._nothing(turn)
        with events.synthesis(self.callback_manager, QueryBundle(message)) as done:
            response = await self._llm.achat(turn.messages, **turn.settings)
            await self._memory.aput_messages([turn.said, response.message])
            reply = _reply(response, turn)
            done(Response(reply.response, reply.source_nodes, reply.metadata))
        return reply

    def stream_chat(self, message: str, chat_history: list[ChatMessage] | None = None) -> StreamingAgentChatResponse:
        """Stream the answer to a message; the history is updated when the stream ends or is closed."""
        if chat_history is not None:
            self._memory.set(chat_history)
        turn = self._turn(message, self._memory.get(message))
        chunks: Any = _empty_chunk_alone() if turn.empty else self._llm.stream_chat(turn.messages, **turn.settings)

        def remembered() -> ChatResponseGen:
            last = None
            with closing(chunks), suppress(GeneratorExit):
                for last in chunks:
                    yield last
            if last is not None:
                self._memory.put_messages([turn.said, last.message])
                _finish(streamed, last)

        # Not through LlamaIndex's own thread, whose reader spins while it waits.
        streamed = StreamingAgentChatResponse(
            chat_stream=remembered(), source_nodes=turn.nodes, is_writing_to_memory=False
        )
        return streamed

    async def astream_chat(
        self, message: str, chat_history: list[ChatMessage] | None = None
    ) -> StreamingAgentChatResponse:
        """Stream the answer to a message without blocking the event loop; see `stream_chat`."""
        turn = await self._aturn(message, chat_history)
        chunks = _empty_chunks() if turn.empty else await self._llm.astream_chat(turn.messages, **turn.settings)

        async def remembered() -> ChatResponseAsyncGen:
            last = None
            async with aclosing(chunks):
                with suppress(GeneratorExit):
                    async for last in chunks:
                        yield last
            if last is not None:
                await self._memory.aput_messages([turn.said, last.message])
                _finish(streamed, last)

        streamed = StreamingAgentChatResponse(
            achat_stream=remembered(), source_nodes=turn.nodes, is_writing_to_memory=False
        )
        return streamed

    def reset(self) -> None:
        """Clear the history."""
        self._memory.reset()

    @property
    def chat_history(self) -> list[ChatMessage]:
        """The history."""
        found: list[ChatMessage] = self._memory.get_all()
        return found

    async def _aturn(self, message: str, chat_history: list[ChatMessage] | None) -> _Turn:
        if chat_history is not None:
            await self._memory.aset(chat_history)
        return await asyncio.to_thread(self._turn, message, await self._memory.aget(message))

    def _turn(self, message: str, history: list[ChatMessage]) -> _Turn:
        """Choose what a message is answered from, and tell who looks on."""
        said = ChatMessage(message, role=MessageRole.USER)
        messages = [*self._system, *history, said]
        query = QueryBundle(message)
        with events.retrieval(self.callback_manager, query) as found:
            if self._choice.is_empty():
                found([])
                return _Turn(said, messages, {}, [], empty=True)
            settings = {**self._given, "sources": self._top_k or 3, **self._choice.settings()}
            settings |= widest(self._llm, settings, self._top_k)
            nodes = self._choice.narrowed(query, self._top_k or 3, settings)
            if nodes is None:
                nodes = window_nodes(self._llm.sources_of(messages, **settings))
            found(nodes)
        return _Turn(said, messages, settings, nodes, empty=not nodes)

    def _nothing(self, turn: _Turn) -> AgentChatResponse:
        self._memory.put_messages([turn.said, ChatMessage(EMPTY, role=MessageRole.ASSISTANT)])
        return AgentChatResponse(EMPTY)


@dataclass(frozen=True)
class _Turn:
    """What one message is answered from.

    Args:
        said: The message.
        messages: The conversation.
        settings: Of the call.
        nodes: The windows that the answer will name.
        empty: Whether there is nothing to answer from.
    """

    said: ChatMessage
    messages: list[ChatMessage]
    settings: dict[str, Any]
    nodes: list[NodeWithScore]
    empty: bool


def _reply(response: ChatResponse, turn: _Turn) -> AgentChatResponse:
    answer = answer_of(response)
    nodes = turn.nodes if "windows" in turn.settings else window_nodes(answer.sources)
    return AgentChatResponse(answer.text, source_nodes=nodes, metadata={**metadata_of([answer]), **figures(answer)})


def _finish(streamed: StreamingAgentChatResponse, last: ChatResponse) -> None:
    """Say in a stream's response what there is to say once it has been read."""
    streamed.response = streamed.unformatted_response = str(last.message.content or "")
    streamed.is_done = True
    if last.raw is not None:
        answer = answer_of(last)
        streamed.metadata = {**metadata_of([answer]), **figures(answer)}  # type: ignore[attr-defined]


def _empty_chunk() -> ChatResponse:
    return ChatResponse(message=ChatMessage(EMPTY, role=MessageRole.ASSISTANT), delta=EMPTY)


def _empty_chunk_alone() -> Generator[ChatResponse]:
    yield _empty_chunk()


async def _empty_chunks() -> AsyncGenerator[ChatResponse]:
    yield _empty_chunk()
