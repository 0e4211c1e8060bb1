"""Events and spans of compressed memory for LlamaIndex's dispatcher."""

from __future__ import annotations

import inspect
import time
import uuid
from typing import Any

from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span import active_span_id

from rcc_integrations.adding import AddReport
from rcc_integrations.watching import Step, Watch

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
    """Memories were brought into a prefix."""

    memory_slots: int = 0
    source_tokens: int = 0
    seconds: float

    @classmethod
    def class_name(cls) -> str:
        """Return the event's name."""
        return "RCCLoadEvent"


class RCCGenerateEvent(BaseEvent):
    """An answer was written."""

    question_tokens: int = 0
    answer_tokens: int = 0
    seconds: float

    @classmethod
    def class_name(cls) -> str:
        """Return the event's name."""
        return "RCCGenerateEvent"


_EVENTS: dict[Step, Any] = {"route": RCCRouteEvent, "load": RCCLoadEvent, "generate": RCCGenerateEvent}


def compressed(collection: str, report: AddReport) -> None:
    """Tell LlamaIndex's dispatcher what was compressed."""
    dispatcher.event(
        RCCCompressEvent(
            collection=collection,
            documents=len(report.added) + len(report.replaced),
            windows_compressed=report.windows_compressed,
            windows_reused=report.windows_reused,
            tokens=report.tokens_compressed,
            seconds=report.seconds,
        )
    )


def watch() -> Watch:
    """Return what makes spans and events of an answer's steps, below the span that is active now."""
    parent = active_span_id.get()
    begun: dict[Step, tuple[str, float]] = {}
    no_arguments = inspect.signature(lambda: None).bind()

    def tell(step: Step, counts: dict[str, int] | None) -> None:
        if counts is None:
            begun[step] = f"RCC.{step}-{uuid.uuid4()}", time.perf_counter()
            dispatcher.span_enter(id_=begun[step][0], bound_args=no_arguments, parent_id=parent)
            return
        span, since = begun.pop(step)
        # The work is done in another thread, which has no active span of its own.
        dispatcher.event(_EVENTS[step](span_id=span, seconds=time.perf_counter() - since, **counts))
        dispatcher.span_exit(id_=span, bound_args=no_arguments)

    return tell
