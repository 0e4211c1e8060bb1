"""`build_answer`: what was generated, with its sources, support, counts and timings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rcc_integrations.config import NOT_STATED
from rcc_integrations.reader.answer import Answer, Timings, Usage
from rcc_integrations.reader.prepared import Prepared
from rcc_integrations.routing.spans import find_spans
from rcc_integrations.routing.support import find_support

if TYPE_CHECKING:
    from rcc_integrations.model.generation import Generation


def build_answer(prepared: Prepared, generation: Generation, confidence: float | None, first_token: float) -> Answer:
    """Make the answer of a request.

    Args:
        prepared: The request as it was generated.
        generation: What was generated.
        confidence: How likely the memories say it, from 0 to 1; `None` if that is not known.
        first_token: When its first text was there, by `time.perf_counter`.
    """
    request, text = prepared.request, generation.text
    cancelled = generation.finish_reason == "cancelled"
    if confidence is not None and confidence < request.min_confidence and not cancelled:
        text = NOT_STATED
    # What a message brought along stands before the collection that was asked; prompts are no collection.
    stored = [each for part, each in zip(request.parts, prepared.selections, strict=False) if not part.scratch]
    record = stored[-1].view.record if stored else None
    most = request.sources if text != NOT_STATED else 0
    return Answer(
        text,
        prepared.sources,
        _usage(prepared, len(generation.ids)),
        Timings(
            route=prepared.route_seconds,
            load=prepared.load_seconds,
            first_token=first_token - prepared.started,
            total=time.perf_counter() - prepared.started,
        ),
        generation.finish_reason,
        collection=record.name if record else "",
        revision=record.revision if record else 0,
        confidence=confidence,
        spans=find_spans(text, prepared.passages) if request.grounded else (),
        support=find_support(text, request.question, prepared.passages, most),
    )


def _usage(prepared: Prepared, answer_tokens: int) -> Usage:
    windows = [window for each in prepared.selections for window in each.windows]
    return Usage(
        memory_slots=prepared.prefix.slots,
        question_tokens=prepared.question_tokens,
        answer_tokens=answer_tokens,
        windows=len(windows),
        windows_in_collection=sum(len(each.view.windows) for each in prepared.selections),
        source_tokens=sum(window.tokens for window in windows),
        expanded=sum(len(each.expanded) for each in prepared.selections),
        clear_tokens=prepared.clear_tokens,
    )
