"""`RCCQueryEngine`: questions answered from an index's memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import asdict
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.errors import ConfigError
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.messages import answer_of
from rcc_integrations.llamaindex.nodes import window_nodes
from rcc_integrations.llamaindex.retriever import RCCMemoryRetriever
from rcc_integrations.llamaindex.source import MemorySource
from rcc_integrations.llamaindex.synthesis import MODES, Ask, refining, synthesis
from rcc_integrations.reader.answer import Answer


class RCCQueryEngine(BaseQueryEngine):
    """Answers questions from compressed memory.

    Args:
        index: The index.
        llm: The LLM that answers.
        similarity_top_k: How many windows `source_nodes` names.
        filters: Answer only from documents whose metadata matches.
        doc_ids: Answer only from these documents.
        max_windows: Maximum number of windows in memory; the model's own setting if not given.
        grounded: Restrict answers to verbatim spans of the documents; the LLM's own setting if not given.
        expand: How many of the best windows are inserted as uncompressed text; the LLM's own setting if not given.
        min_confidence: Abstain (`not stated`) below this confidence; the LLM's own setting if not given.
        response_mode: What to do if not all windows fit: `compact` answers from the best ones; `tree_summarize` answers
            from one group of windows after the other and combines the answers; `refine` improves one answer from group
            to group; `accumulate` returns the answers of all groups.
        streaming: Stream the answer; only with `compact`, and not with `output_cls`.
        output_cls: Return an object of this pydantic class.
        callback_manager: LlamaIndex's callback manager.

    Raises:
        ConfigError: The mode is unknown, or arguments contradict each other.
    """

    def __init__(
        self,
        index: MemorySource,
        llm: RCCLLM,
        similarity_top_k: int = 3,
        filters: MetadataFilters | None = None,
        doc_ids: list[str] | None = None,
        max_windows: int | None = None,
        grounded: bool | None = None,
        expand: int | None = None,
        min_confidence: float | None = None,
        response_mode: str = "compact",
        streaming: bool = False,
        output_cls: type[BaseModel] | None = None,
        callback_manager: Any = None,
    ) -> None:
        self._mode = str(getattr(response_mode, "value", response_mode))
        if self._mode not in MODES:
            raise ConfigError(f"response_mode must be one of {', '.join(MODES)}; it is {self._mode!r}.")
        if streaming and (output_cls is not None or self._mode != "compact"):
            raise ConfigError("streaming goes with response_mode='compact' and without output_cls.")
        if output_cls is not None and self._mode != "compact":
            raise ConfigError(f"output_cls goes with response_mode='compact'; it is {self._mode!r}.")
        self._index, self._llm, self._filters, self._doc_ids = index, llm, filters, doc_ids
        self._top_k, self._streaming, self._output_cls = similarity_top_k, streaming, output_cls
        self._settings: dict[str, Any] = {"max_windows": max_windows, "sources": similarity_top_k}
        given = {"grounded": grounded, "expand": expand, "min_confidence": min_confidence}
        self._settings |= {name: value for name, value in given.items() if value is not None}
        if output_cls is not None:
            self._settings["response_format"] = output_cls.model_json_schema()
        super().__init__(callback_manager)

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return the windows that match a query best."""
        found: list[NodeWithScore] = self._retriever().retrieve(query_bundle)
        return found

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return the windows that match a query best, without blocking the event loop."""
        found: list[NodeWithScore] = await self._retriever().aretrieve(query_bundle)
        return found

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def _retriever(self) -> RCCMemoryRetriever:
        return RCCMemoryRetriever(self._index, self._top_k, self._filters, self._doc_ids)

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        question = query_bundle.query_str
        settings = self._chosen(question)
        if self._streaming:
            sources = self._sources(question, settings)
            chunks = self._llm.stream_chat(_said(question), **settings)

            def words() -> Generator[str]:
                for chunk in chunks:
                    if chunk.delta:
                        yield chunk.delta

            return StreamingResponse(words(), sources)
        steps = synthesis(self._mode, question, self._pages(question, settings))
        asks, answers = next(steps), list[Answer]()
        while True:
            found = [answer_of(self._llm.chat(_said(ask.words), **_settings(settings, ask))) for ask in asks]
            answers += found
            try:
                asks = steps.send(found)
            except StopIteration as end:
                return self._response(answers, end.value)

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        question = query_bundle.query_str
        settings = await asyncio.to_thread(self._chosen, question)
        if self._streaming:
            sources = await asyncio.to_thread(self._sources, question, settings)
            chunks = await self._llm.astream_chat(_said(question), **settings)

            async def words() -> AsyncGenerator[str]:
                async for chunk in chunks:
                    if chunk.delta:
                        yield chunk.delta

            return AsyncStreamingResponse(words(), sources)
        steps = synthesis(self._mode, question, await asyncio.to_thread(self._pages, question, settings))
        asks, answers = next(steps), list[Answer]()
        while True:
            waited = (self._llm.achat(_said(ask.words), **_settings(settings, ask)) for ask in asks)
            found = [answer_of(response) for response in await asyncio.gather(*waited)]
            answers += found
            try:
                asks = steps.send(found)
            except StopIteration as end:
                return self._response(answers, end.value)

    def _chosen(self, question: str) -> dict[str, Any]:
        documents = self._index.choose(self._filters, self._doc_ids)
        return {**self._settings, "collection": self._index.collection, "documents": documents, "question": question}

    def _sources(self, question: str, settings: dict[str, Any]) -> list[NodeWithScore]:
        return window_nodes(self._llm.sources_of(_said(question), **settings))

    def _pages(self, question: str, settings: dict[str, Any]) -> list[frozenset[str] | None]:
        if self._mode == "compact":
            return [None]
        # Room is left for the longest question that will be asked beside a group.
        longest = refining(question, "x " * self._llm.max_tokens) if self._mode == "refine" else question
        pages = self._llm.memory.cover(self._llm.request(_said(longest), **settings))
        return [each.parts[0].windows for each in pages]

    def _response(self, answers: Sequence[Answer], text: str) -> RESPONSE_TYPE:
        sources = sorted((source for answer in answers for source in answer.sources), key=lambda each: -each.score)
        nodes = window_nodes(sources[: self._top_k])
        metadata = {"collection": answers[0].collection, "revision": answers[0].revision,
                    "finish_reason": answers[-1].finish_reason, "confidence": answers[-1].confidence,
                    "supported": answers[-1].supported,
                    "spans": [asdict(span) for answer in answers for span in answer.spans],
                    "support": [asdict(place) for answer in answers for place in answer.support],
                    "usage": [asdict(answer.usage) for answer in answers],
                    "timings": [asdict(answer.timings) for answer in answers]}  # fmt: skip
        if self._output_cls is not None:
            return PydanticResponse(self._output_cls.model_validate_json(text), nodes, metadata)
        return Response(text, nodes, metadata)


def _settings(settings: dict[str, Any], ask: Ask) -> dict[str, Any]:
    if ask.memory:
        return {**settings, "windows": ask.windows}
    # Everything is in the words, and stays there.
    return {"collection": None, "documents": None, "compress_over": None, "grounded": False,
            "expand": 0, "min_confidence": 0.0}  # fmt: skip


def _said(question: str) -> list[ChatMessage]:
    return [ChatMessage(question, role=MessageRole.USER)]
