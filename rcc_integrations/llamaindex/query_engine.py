"""`RCCQueryEngine`: questions answered from an index's memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.chat.schemas import class_schema
from rcc_integrations.errors import ConfigError
from rcc_integrations.llamaindex import events
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.messages import answer_of
from rcc_integrations.llamaindex.nodes import window_nodes
from rcc_integrations.llamaindex.prompts import Templates
from rcc_integrations.llamaindex.reading import WindowChoice, metadata_of, widest
from rcc_integrations.llamaindex.retriever import RCCMemoryRetriever
from rcc_integrations.llamaindex.source import MemorySource
from rcc_integrations.llamaindex.synthesis import MODES, SAME, Ask, synthesis
from rcc_integrations.reader.answer import Answer

#: What LlamaIndex says where there is nothing to answer from.
EMPTY = "Empty Response"
#: How many windows an answer names if nothing is said.
_SOURCES = 3
#: Settings that hold for questions without memory, too.
_GENERATION = ("max_tokens", "temperature", "seed")


@dataclass(frozen=True)
class _Plan:
    """What one question is answered from.

    Args:
        question: The question.
        settings: Of the call.
        nodes: The windows that an answer will name, if they are known beforehand.
        empty: Whether there is nothing to answer from.
    """

    question: str
    settings: dict[str, Any]
    nodes: list[NodeWithScore] | None = None
    empty: bool = False


class RCCQueryEngine(BaseQueryEngine):
    """Answers questions from compressed memory.

    Args:
        index: The index.
        llm: The LLM that answers.
        similarity_top_k: How many windows an answer names in `source_nodes` (3 if not given). More than the model's own
            limit are read, too, unless `max_windows` is given.
        filters: Answer only from documents whose metadata matches.
        doc_ids: Answer only from these documents.
        node_ids: Answer only from these nodes.
        response_mode: What to do if not all windows fit: `compact` answers from the best ones; `tree_summarize` answers
            from one group of windows after the other and combines the answers; `refine` improves one answer from group
            to group; `accumulate` returns the answers of all groups.
        streaming: Stream the answer; only with `compact`, and not with `output_cls`.
        output_cls: Return an object of this pydantic class.
        node_postprocessors: Choose among the `similarity_top_k` windows that fit best: what they leave is read.
        text_qa_template: The words of a question; memory stands in front of them.
        refine_template: The words of `refine`.
        summary_template: The words of `tree_summarize`.
        callback_manager: LlamaIndex's callback manager.
        object_map: What nodes stand for.
        **settings: Settings of `RCCLLM` for these questions: `max_tokens`, `max_windows`, `grounded`, `expand`,
            `min_confidence`, ….

    Raises:
        ConfigError: The mode is unknown, or arguments contradict each other.
    """

    def __init__(
        self,
        index: MemorySource,
        llm: RCCLLM,
        similarity_top_k: int | None = None,
        filters: MetadataFilters | None = None,
        doc_ids: list[str] | None = None,
        node_ids: Sequence[str] | None = None,
        response_mode: str = "compact",
        streaming: bool = False,
        output_cls: type[BaseModel] | None = None,
        node_postprocessors: Sequence[Any] | None = None,
        text_qa_template: Any = None,
        refine_template: Any = None,
        summary_template: Any = None,
        callback_manager: Any = None,
        object_map: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        mode = str(getattr(response_mode, "value", response_mode))
        self._mode = SAME.get(mode, mode)
        if self._mode not in MODES:
            raise ConfigError(f"response_mode must be one of {', '.join([*MODES, *SAME])}; it is {mode!r}.")
        if streaming and (output_cls is not None or self._mode != "compact"):
            raise ConfigError("streaming goes with response_mode='compact' and without output_cls.")
        if output_cls is not None and self._mode != "compact":
            raise ConfigError(f"output_cls goes with response_mode='compact'; it is {self._mode!r}.")
        for name in ("simple_template", "chat_content_qa_template", "chat_content_refine_template"):
            if settings.pop(name, None) is not None:
                raise ConfigError(f"{name} has no place here: memory is always read. Give text_qa_template.")
        # Questions of several groups are answered together anyway, and nothing is printed.
        for name in ("use_async", "verbose", "multimodal", "response_synthesizer"):
            settings.pop(name, None)
        self._index, self._llm, self._top_k = index, llm, similarity_top_k
        self._streaming, self._output_cls = streaming, output_cls
        self._choice = WindowChoice(index, filters, doc_ids, node_ids, list(node_postprocessors or ()))
        self._templates = Templates(text_qa_template, refine_template, summary_template)
        self._given = settings
        super().__init__(callback_manager)
        self._retriever = RCCMemoryRetriever(
            index, similarity_top_k or 4, filters, doc_ids, node_ids, callback_manager=self.callback_manager,
            object_map=object_map, routing=settings.get("routing") or llm.routing,
        )  # fmt: skip

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return the windows that match a query best."""
        nodes: list[NodeWithScore] = self._retriever.retrieve(query_bundle)
        return self._choice.processed(nodes, query_bundle)

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Return the windows that match a query best, without blocking the event loop."""
        nodes: list[NodeWithScore] = await self._retriever.aretrieve(query_bundle)
        return await asyncio.to_thread(self._choice.processed, nodes, query_bundle)

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer from the texts of nodes, such as what other indices of a graph said."""
        found: RESPONSE_TYPE = self._synthesizer().synthesize(query_bundle, nodes, additional_source_nodes)
        return found

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer from the texts of nodes without blocking the event loop."""
        found: RESPONSE_TYPE = await self._synthesizer().asynthesize(query_bundle, nodes, additional_source_nodes)
        return found

    def _synthesizer(self) -> Any:
        plain: dict[str, Any] = {
            "collection": None,
            "documents": None,
            "grounded": False,
            "expand": 0,
            "vote": 0,
            "min_confidence": 0.0,
        }
        limit: dict[str, Any] = {name: self._given[name] for name in _GENERATION if name in self._given}
        return get_response_synthesizer(
            llm=self._llm.model_copy(update={**plain, **limit}),
            response_mode=self._mode,  # type: ignore[arg-type]
            text_qa_template=self._templates.text_qa,
            refine_template=self._templates.refine,
            summary_template=self._templates.summary,
            output_cls=self._output_cls,
            streaming=self._streaming,
            callback_manager=self.callback_manager,
        )

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with events.query(self.callback_manager, query_bundle) as end:
            plan = self._plan(query_bundle)
            with events.synthesis(self.callback_manager, query_bundle) as done:
                response = done(self._empty() if plan.empty else self._answered(plan))
            answered: RESPONSE_TYPE = end(response)
            return answered

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with events.query(self.callback_manager, query_bundle) as end:
            plan = await asyncio.to_thread(self._plan, query_bundle)
            with events.synthesis(self.callback_manager, query_bundle) as done:
                response = done(self._empty(aside=True) if plan.empty else await self._aanswered(plan))
            answered: RESPONSE_TYPE = end(response)
            return answered

    def _answered(self, plan: _Plan) -> RESPONSE_TYPE:
        if self._streaming:
            chunks = self._llm.stream_chat(self._templates.asked(plan.question), **plan.settings)
            metadata: dict[str, Any] = {}

            def words() -> Generator[str]:
                for chunk in chunks:
                    if chunk.delta:
                        yield chunk.delta
                    if chunk.raw is not None:
                        metadata.update(metadata_of([answer_of(chunk)]))

            return StreamingResponse(words(), plan.nodes or [], metadata)
        steps = self._steps(plan)
        asks, answers = next(steps), list[Answer]()
        while True:
            found = [answer_of(self._llm.chat(ask.messages, **_settings(plan.settings, ask))) for ask in asks]
            answers += found
            try:
                asks = steps.send(found)
            except StopIteration as end:
                return self._response(plan, answers, end.value)

    async def _aanswered(self, plan: _Plan) -> RESPONSE_TYPE:
        if self._streaming:
            chunks = await self._llm.astream_chat(self._templates.asked(plan.question), **plan.settings)
            metadata: dict[str, Any] = {}

            async def words() -> AsyncGenerator[str]:
                async for chunk in chunks:
                    if chunk.delta:
                        yield chunk.delta
                    if chunk.raw is not None:
                        metadata.update(metadata_of([answer_of(chunk)]))

            return AsyncStreamingResponse(words(), plan.nodes or [], metadata)
        steps = await asyncio.to_thread(self._steps, plan)
        asks, answers = next(steps), list[Answer]()
        while True:
            waited = (self._llm.achat(ask.messages, **_settings(plan.settings, ask)) for ask in asks)
            found = [answer_of(response) for response in await asyncio.gather(*waited)]
            answers += found
            try:
                asks = steps.send(found)
            except StopIteration as end:
                return self._response(plan, answers, end.value)

    def _plan(self, query_bundle: QueryBundle) -> _Plan:
        """Choose what a question is answered from, and tell who looks on."""
        question = query_bundle.query_str
        if self._choice.is_empty():
            with events.retrieval(self.callback_manager, query_bundle) as found:
                found([])
            return _Plan(question, {}, [], empty=True)
        settings: dict[str, Any] = {
            **self._given, "sources": self._top_k or _SOURCES, "question": question, **self._choice.settings(),
        }  # fmt: skip
        if self._output_cls is not None:
            settings["response_format"] = class_schema(self._output_cls)
        settings |= widest(self._llm, settings, self._top_k)
        with events.retrieval(self.callback_manager, query_bundle) as found:
            nodes = self._choice.narrowed(query_bundle, self._top_k or _SOURCES, settings)
            if nodes is None and self._mode == "compact":
                nodes = window_nodes(self._llm.sources_of(self._templates.asked(question), **settings))
            shown = nodes if nodes is not None else window_nodes(self._retriever.search(question))
            found(shown)
        return _Plan(question, settings, nodes, empty=nodes == [])

    def _steps(self, plan: _Plan) -> Any:
        pages: list[frozenset[str] | None] = [plan.settings.get("windows")]
        if self._mode != "compact":
            # Room is left for the longest question that will be asked beside a group.
            longest = self._templates.asked(plan.question)
            if self._mode == "refine":
                longest = self._templates.refining(plan.question, "x " * self._llm.max_tokens)
            covered = self._llm.memory.cover(self._llm.request(longest, **plan.settings))
            pages = [each.parts[0].windows for each in covered]
        return synthesis(self._mode, plan.question, pages, self._templates)

    def _response(self, plan: _Plan, answers: Sequence[Answer], text: str) -> RESPONSE_TYPE:
        sources = sorted((source for answer in answers for source in answer.sources), key=lambda each: -each.score)
        nodes = plan.nodes if "windows" in plan.settings and plan.nodes else window_nodes(sources)
        nodes, metadata = nodes[: self._top_k or _SOURCES], metadata_of(answers)
        if self._output_cls is not None:
            return PydanticResponse(self._output_cls.model_validate_json(text), nodes, metadata)
        return Response(text, nodes, metadata)

    def _empty(self, *, aside: bool = False) -> RESPONSE_TYPE:
        if not self._streaming:
            return Response(EMPTY)
        if not aside:
            return StreamingResponse(iter([EMPTY]), [], {})  # type: ignore[arg-type]

        async def words() -> AsyncGenerator[str]:
            yield EMPTY

        return AsyncStreamingResponse(words(), [], {})


def _settings(settings: dict[str, Any], ask: Ask) -> dict[str, Any]:
    if ask.memory:
        return {**settings, "windows": ask.windows}
    # Everything is in the words, and stays there.
    kept: dict[str, Any] = {name: settings[name] for name in _GENERATION if name in settings}
    return {**kept, "collection": None, "documents": None, "compress_over": None, "grounded": False,
            "expand": 0, "vote": 0, "min_confidence": 0.0}  # fmt: skip
