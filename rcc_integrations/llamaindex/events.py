"""Events and spans of compressed memory for LlamaIndex's dispatcher."""

from __future__ import annotations

import inspect
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent
from llama_index.core.instrumentation.events.synthesis import SynthesizeEndEvent, SynthesizeStartEvent
from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.schema import NodeWithScore, QueryBundle

from rcc_integrations.reader.ingest import AddReport
from rcc_integrations.reader.observer import Step, StepCallback

dispatcher = get_dispatcher(__name__)


class RCCCompressEvent(BaseEvent):
    """Documents were compressed into a collection."""

    collection: str
    documents: int
    windows_compressed: int
    windows_reused: int
    tokens: int
    seconds: float

    @classmethod
    def class_name(cls) -> str:
        """Return the event's name."""
        return "RCCCompressEvent"


class RCCRouteEvent(BaseEvent):
    """Windows were chosen for a question."""

    windows: int = 0
    windows_in_collection: int = 0
    seconds: float

    @classmethod
    def class_name(cls) -> str:
        """Return the event's name."""
        return "RCCRouteEvent"


class RCCLoadEvent(BaseEvent):
    """Memories were loaded into a prefix."""

    memory_slots: int = 0
    source_tokens: int = 0
    seconds: float

    @classmethod
    def class_name(cls) -> str:
        """Return the event's name."""
        return "RCCLoadEvent"


class RCCGenerateEvent(BaseEvent):
    """An answer was generated."""

    question_tokens: int = 0
    answer_tokens: int = 0
    seconds: float

    @classmethod
    def class_name(cls) -> str:
        """Return the event's name."""
        return "RCCGenerateEvent"


_NO_ARGUMENTS = inspect.signature(lambda: None).bind()
_EVENTS: dict[Step, Any] = {"route": RCCRouteEvent, "load": RCCLoadEvent, "generate": RCCGenerateEvent}


@contextmanager
def compressing(collection: str) -> Iterator[Callable[[AddReport], None]]:
    """Make a span around compression; what is yielded makes its event.

    Args:
        collection: Name of the collection.
    """
    span = _Span("compress", active_span_id.get())

    def tell(report: AddReport) -> None:
        dispatcher.event(
            RCCCompressEvent(
                span_id=span.id,
                collection=collection,
                documents=len(report.added) + len(report.replaced),
                windows_compressed=report.windows_compressed,
                windows_reused=report.windows_reused,
                tokens=report.tokens_compressed,
                seconds=report.seconds,
            )
        )

    try:
        yield tell
    except BaseException as error:
        span.drop(error)
        raise
    span.exit()


def observer() -> StepCallback:
    """Return what makes spans and events of an answer's steps, below the span that is active now."""
    parent = active_span_id.get()  # the work is done in another thread, which has no active span of its own
    begun: dict[Step, _Span] = {}

    def tell(step: Step, counts: dict[str, int] | None) -> None:
        if counts is None:
            begun[step] = _Span(step, parent)
            return
        span = begun.pop(step)
        if not counts:
            span.drop(None)
            return
        dispatcher.event(_EVENTS[step](span_id=span.id, seconds=time.perf_counter() - span.since, **counts))
        span.exit()

    return tell


class _Span:
    """A span of LlamaIndex's dispatcher, begun when it is made.

    Args:
        name: What is done.
        parent: Id of the span around it.
    """

    def __init__(self, name: str, parent: str | None) -> None:
        self.id, self.since = f"RCC.{name}-{uuid.uuid4()}", time.perf_counter()
        dispatcher.span_enter(id_=self.id, bound_args=_NO_ARGUMENTS, parent_id=parent)

    def exit(self) -> None:
        """End it."""
        dispatcher.span_exit(id_=self.id, bound_args=_NO_ARGUMENTS)

    def drop(self, error: BaseException | None) -> None:
        """End it as failed."""
        dispatcher.span_drop(id_=self.id, bound_args=_NO_ARGUMENTS, err=error)


@contextmanager
def query(manager: Any, asked: QueryBundle) -> Iterator[Callable[[Any], Any]]:
    """Tell a callback manager of a query; what is yielded takes the response and returns it.

    Args:
        manager: Of LlamaIndex.
        asked: The query.
    """
    with manager.event(CBEventType.QUERY, payload={EventPayload.QUERY_STR: asked.query_str}) as event:

        def end(response: Any) -> Any:
            event.on_end(payload={EventPayload.RESPONSE: response})
            return response

        yield end


@contextmanager
def retrieval(manager: Any, asked: QueryBundle) -> Iterator[Callable[[list[NodeWithScore]], None]]:
    """Tell dispatcher and callback manager of a retrieval; what is yielded takes the nodes.

    Args:
        manager: Of LlamaIndex.
        asked: The query.
    """
    dispatcher.event(RetrievalStartEvent(str_or_query_bundle=asked))
    with manager.event(CBEventType.RETRIEVE, payload={EventPayload.QUERY_STR: asked.query_str}) as event:

        def end(nodes: list[NodeWithScore]) -> None:
            event.on_end(payload={EventPayload.NODES: nodes})
            dispatcher.event(RetrievalEndEvent(str_or_query_bundle=asked, nodes=nodes))

        yield end


@contextmanager
def synthesis(manager: Any, asked: QueryBundle) -> Iterator[Callable[[Any], Any]]:
    """Tell dispatcher and callback manager of a synthesis; what is yielded takes the response and returns it.

    Args:
        manager: Of LlamaIndex.
        asked: The query.
    """
    dispatcher.event(SynthesizeStartEvent(query=asked))
    with manager.event(CBEventType.SYNTHESIZE, payload={EventPayload.QUERY_STR: asked.query_str}) as event:

        def end(response: Any) -> Any:
            event.on_end(payload={EventPayload.RESPONSE: response})
            dispatcher.event(SynthesizeEndEvent(query=asked, response=response))
            return response

        yield end
