"""Answers, with their sources, counts and timings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from rcc_integrations.config import NOT_STATED
from rcc_integrations.routing.spans import Span
from rcc_integrations.routing.support import SUPPORTED, Support


@dataclass(frozen=True)
class Source:
    """A window that an answer is based on, or that a search found.

    Args:
        document: Id of the document.
        start: Offset of the window's first character in the document's text.
        end: Offset after its last character.
        text: The window's text, `stored_text[start:end]`.
        score: How well it matches the question (BM25); only comparable within one answer.
        metadata: The document's metadata.
        relevance: The score as a part of the highest that any text could have for the question, from 0 to 1; it can be
            compared between questions and collections.
    """

    document: str
    start: int
    end: int
    text: str
    score: float
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)
    relevance: float = 0.0


@dataclass(frozen=True)
class Usage:
    """Counts of an answer, in decoder positions unless stated otherwise.

    Args:
        memory_slots: Memory slots in the prefix.
        question_tokens: Tokens of the question and the prompt around it.
        answer_tokens: Generated tokens.
        windows: Windows in the prefix.
        windows_in_collection: Windows that the router could choose from.
        source_tokens: Source tokens that the memories stand for.
        expanded: Windows that were inserted as uncompressed text.
        clear_tokens: Tokens of the uncompressed windows.
    """

    memory_slots: int
    question_tokens: int
    answer_tokens: int
    windows: int
    windows_in_collection: int
    source_tokens: int
    expanded: int = 0
    clear_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """All positions in front of the answer."""
        return self.memory_slots + self.question_tokens + self.clear_tokens


@dataclass(frozen=True)
class Timings:
    """Timings of an answer in seconds.

    Args:
        route: Choosing windows.
        load: Loading memories and building the prefix; 0 if it was cached.
        first_token: From the question to the first text of the answer, including the above.
        total: From the question to the end of the answer.
    """

    route: float
    load: float
    first_token: float
    total: float


@dataclass(frozen=True)
class Answer:
    """An answer from compressed memory.

    Args:
        text: The answer.
        sources: The windows in memory that match the question best, best first.
        usage: Counts.
        timings: Durations.
        finish_reason: `stop`, `length` or `cancelled`.
        collection: Name of the collection that was asked.
        revision: Revision of the collection that the answer is based on.
        confidence: Estimate, from 0 to 1, of how likely it is that the documents in memory say this, computed from the
            decoder's probabilities (see `rcc calibrate`); `None` without memory or with a grammar.
        spans: Locations of a grounded answer, one span for each item of a list; empty if it is not grounded, or is `not
            stated`.
        support: Passages in memory that support the answer, best first.
    """

    text: str
    sources: tuple[Source, ...]
    usage: Usage
    timings: Timings
    finish_reason: Literal["stop", "length", "cancelled"]
    collection: str
    revision: int
    confidence: float | None = None
    spans: tuple[Span, ...] = ()
    support: tuple[Support, ...] = ()

    @property
    def stated(self) -> bool:
        """Whether the answer is something other than `not stated`."""
        return self.text != NOT_STATED

    @property
    def supported(self) -> bool:
        """Whether a passage in memory contains at least half of the answer."""
        return bool(self.spans) or any(each.score >= SUPPORTED for each in self.support)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain dicts, lists, strings and numbers."""
        return {**dataclasses.asdict(self), "stated": self.stated, "supported": self.supported}
