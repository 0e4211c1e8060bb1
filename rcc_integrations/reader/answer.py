"""What comes back from a question."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from rcc_integrations.config import NOT_STATED
from rcc_integrations.routing.spans import Span
from rcc_integrations.routing.support import SUPPORTED, Support


@dataclass(frozen=True)
class Source:
    """A window that an answer drew on, or that was searched for.

    Args:
        document: Id of the document.
        start: First character of the window in the document's text.
        end: One past its last character.
        text: The window's text, `stored_text[start:end]`.
        score: How well its words fit the question (BM25); only the order means something.
        metadata: The document's metadata.
    """

    document: str
    start: int
    end: int
    text: str
    score: float
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Usage:
    """What an answer took, in positions of the decoder unless said otherwise.

    Args:
        memory_slots: Slots of all memories in the prefix.
        question_tokens: The question with the prompt around it.
        answer_tokens: Tokens that were generated.
        windows: Windows in the prefix.
        windows_in_collection: Windows that could have been chosen.
        source_tokens: Tokens of text that the memories stand for.
        expanded: Windows that were read in clear instead.
        clear_tokens: Their tokens.
    """

    memory_slots: int
    question_tokens: int
    answer_tokens: int
    windows: int
    windows_in_collection: int
    source_tokens: int
    expanded: int = 0
    clear_tokens: int = 0


@dataclass(frozen=True)
class Timings:
    """Where the time went, in seconds.

    Args:
        route: Choosing windows.
        load: Reading memories from disk and building the prefix; 0 when it was at hand.
        first_token: From the question to the first text of the answer, all of the above included.
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
        sources: The windows that fit the question best among those in memory, best first.
        usage: Counts.
        timings: Durations.
        finish_reason: `stop`, `length` or `cancelled`.
        collection: Name of the collection that was asked.
        revision: The collection's revision that was asked.
        confidence: How likely the documents in memory say this, from 0 to 1, judged by how sure the decoder was of
            what it wrote (`rcc calibrate` says what that is worth); `None` without memory, and with a grammar.
        spans: Where a grounded answer stands, word for word, one span for each item of a list; empty if it was not
            grounded, or is `not stated`.
        support: Where texts in memory speak of what the answer says, best first; empty if nowhere.
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
        """Whether it is an answer, and not `not stated`."""
        return self.text != NOT_STATED

    @property
    def supported(self) -> bool:
        """Whether at least half of what the answer says stands in one place of the texts in memory."""
        return bool(self.spans) or any(each.score >= SUPPORTED for each in self.support)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {**dataclasses.asdict(self), "stated": self.stated, "supported": self.supported}
