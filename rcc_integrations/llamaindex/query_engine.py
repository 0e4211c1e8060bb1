"""`RCCQueryEngine`: questions answered from an index's memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

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

from rcc_integrations.answer import Answer
from rcc_integrations.errors import ConfigError
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.nodes import window_nodes
from rcc_integrations.llamaindex.retriever import RCCMemoryRetriever
from rcc_integrations.llamaindex.synthesis import accumulated, combining, refining

if TYPE_CHECKING:
    from rcc_integrations.llamaindex.index import RCCMemoryIndex

MODES = ("compact", "tree_summarize", "refine", "accumulate")


class RCCQueryEngine(BaseQueryEngine):
    """Answers questions from compressed memory.

    Args:
        index: The index.
        llm: How to generate.
        similarity_top_k: How many windows an answer names in `source_nodes`.
        filters: Answer only from documents whose metadata pass.
        doc_ids: Answer only from these documents.
        max_windows: The most windows in memory; what the model was trained with if not given.
        response_mode: What to do if not all windows fit: `compact` answers from the best; `tree_summarize` asks all of
            them, group by group, and combines the answers; `refine` improves one answer from group to group;
            `accumulate` returns the answers of all groups.
        streaming: Return the answer piece by piece; not possible with `output_cls`, nor where groups are combined.
        output_cls: Return an object of this pydantic class.
        callback_manager: Of LlamaIndex.

    Raises:
        ConfigError: If the mode is not known, or the arguments exclude one another.
    """

    def __init__(
        self,
        index: RCCMemoryIndex,
        llm: RCCLLM,
        similarity_top_k: int = 3,
        filters: MetadataFilters | None = None,
        doc_ids: list[str] | None = None,
        max_windows: int | None = None,
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
        if output_cls is not None:
            self._settings["response_format"] = output_cls.model_json_schema()
        super().__init__(callback_manager)

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return the windows that fit a query best."""
        found: list[NodeWithScore] = self._retriever().retrieve(query_bundle)
        return found

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return the windows that fit a query best without blocking the event loop."""
        found: list[NodeWithScore] = await self._retriever().aretrieve(query_bundle)
        return found

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def _retriever(self) -> RCCMemoryRetriever:
        return RCCMemoryRetriever(self._index, self._top_k, self._filters, self._doc_ids)

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        question = query_bundle.query_str
        settings = self._chosen()
        if self._streaming:
            sources = self._sources(question, settings)
            chunks = self._llm.stream_chat(_asked(question), **settings)

            def words() -> Generator[str]:
                for chunk in chunks:
                    if chunk.delta:
                        yield chunk.delta

            return StreamingResponse(words(), sources)
        pages = self._pages(question, settings)
        if len(pages) < 2:
            return self._response([self._ask(question, settings)])
        answers: list[Answer] = []
        for windows in pages:
            asked = refining(question, answers[-1].text) if self._mode == "refine" and answers else question
            answers.append(self._ask(asked, {**settings, "windows": windows}))
        text = accumulated(answers)
        if self._mode == "tree_summarize":
            texts = [answer.text for answer in answers]
            while len(texts) > 1:
                texts = [self._ask(words, _CLEAR).text for words in combining(question, texts)]
            text = texts[0]
        return self._response(answers, answers[-1].text if self._mode == "refine" else text)

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        question = query_bundle.query_str
        settings = await asyncio.to_thread(self._chosen)
        if self._streaming:
            sources = await asyncio.to_thread(self._sources, question, settings)
            chunks = await self._llm.astream_chat(_asked(question), **settings)

            async def words() -> AsyncGenerator[str]:
                async for chunk in chunks:
                    if chunk.delta:
                        yield chunk.delta

            return AsyncStreamingResponse(words(), sources)
        pages = await asyncio.to_thread(self._pages, question, settings)
        if len(pages) < 2:
            return self._response([await self._aask(question, settings)])
        if self._mode == "refine":
            answers: list[Answer] = []
            for windows in pages:
                asked = refining(question, answers[-1].text) if answers else question
                answers.append(await self._aask(asked, {**settings, "windows": windows}))
            return self._response(answers, answers[-1].text)
        answers = await asyncio.gather(*(self._aask(question, {**settings, "windows": each}) for each in pages))
        text = accumulated(answers)
        if self._mode == "tree_summarize":
            texts = [answer.text for answer in answers]
            while len(texts) > 1:
                found = await asyncio.gather(*(self._aask(words, _CLEAR) for words in combining(question, texts)))
                texts = [answer.text for answer in found]
            text = texts[0]
        return self._response(answers, text)

    def _chosen(self) -> dict[str, Any]:
        documents = self._index.choose(self._filters, self._doc_ids)
        return {**self._settings, "collection": self._index.collection, "documents": documents}

    def _ask(self, question: str, settings: dict[str, Any]) -> Answer:
        answer: Answer = self._llm.chat(_asked(question), **settings).raw
        return answer

    async def _aask(self, question: str, settings: dict[str, Any]) -> Answer:
        answer: Answer = (await self._llm.achat(_asked(question), **settings)).raw
        return answer

    def _sources(self, question: str, settings: dict[str, Any]) -> list[NodeWithScore]:
        return window_nodes(self._llm.sources_of(_asked(question), **settings))

    def _pages(self, question: str, settings: dict[str, Any]) -> list[frozenset[str] | None]:
        if self._mode == "compact":
            return [None]
        request = self._llm.request(_asked(question), **settings)
        return [each.parts[0].windows for each in self._llm.memory.cover(request)]

    def _response(self, answers: Sequence[Answer], text: str | None = None) -> RESPONSE_TYPE:
        sources = sorted((source for answer in answers for source in answer.sources), key=lambda each: -each.score)
        nodes = window_nodes(sources[: self._top_k])
        last = answers[-1]
        metadata = {"collection": last.collection, "revision": last.revision, "finish_reason": last.finish_reason,
                    "usage": [asdict(answer.usage) for answer in answers],
                    "timings": [asdict(answer.timings) for answer in answers]}  # fmt: skip
        if self._output_cls is not None:
            return PydanticResponse(self._output_cls.model_validate_json(last.text), nodes, metadata)
        return Response(last.text if text is None else text, nodes, metadata)


#: Settings for combining answers: nothing from memory, everything in clear.
_CLEAR: dict[str, Any] = {"collection": None, "documents": None, "compress_over": None}


def _asked(question: str) -> list[ChatMessage]:
    return [ChatMessage(question, role=MessageRole.USER)]
