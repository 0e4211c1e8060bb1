"""Locates a grounded answer, verbatim, in the texts in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rcc_integrations.config import MOST_SPANS, SEPARATORS
from rcc_integrations.routing.passage import Passage


@dataclass(frozen=True)
class Span:
    """The location of a grounded answer, or of an item of it, in a document.

    Args:
        document: Id of the document.
        start: Offset of its first character in the document's text.
        end: Offset after its last character.
    """

    document: str
    start: int
    end: int


def find_spans(answer: str, passages: Sequence[Passage]) -> tuple[Span, ...]:
    """Return where an answer occurs verbatim: as one span if it does, otherwise item by item as a list.

    Args:
        answer: The answer.
        passages: Where to look; occurrences at word boundaries are preferred, then those in the best passage.

    Returns:
        The fewest possible spans, in the order of the items; none if the answer, or an item of it, does not occur.
    """
    # What is left of the answer after so many characters, with the spans of what is before: the fewest spans first.
    reached: dict[int, tuple[Span, ...]] = {0: ()}
    for _ in range(MOST_SPANS):
        ahead: dict[int, tuple[Span, ...]] = {}
        for start, spans in reached.items():
            if span := find_span(answer[start:], passages):
                return (*spans, span)
            for end, after in _cuts(answer, start):
                if after not in ahead and (span := find_span(answer[start:end], passages)):
                    ahead[after] = (*spans, span)
        reached = ahead
    return ()


def find_span(answer: str, passages: Sequence[Passage]) -> Span | None:
    """Return where an answer occurs verbatim, at word boundaries if possible; `None` if it does not occur.

    Args:
        answer: The answer.
        passages: Where to look.
    """
    if not answer:
        return None
    found: list[tuple[bool, float, int, Span]] = []
    for order, passage in enumerate(passages):
        for at in _occurrences(answer, passage.text):
            start, end = passage.start + at, passage.start + at + len(answer)
            whole = not _splits(passage.text, at) and not _splits(passage.text, at + len(answer))
            found.append((whole, passage.score, -order, Span(passage.document, start, end)))
    return max(found, key=lambda each: each[:3])[3] if found else None


def _cuts(answer: str, start: int) -> Iterator[tuple[int, int]]:
    """Yield where an item that begins at `start` may end, and where the next would begin."""
    for separator in SEPARATORS:
        for at in _occurrences(separator, answer[start + 1 :]):
            yield start + 1 + at, start + 1 + at + len(separator)


def _occurrences(part: str, text: str) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _splits(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()
