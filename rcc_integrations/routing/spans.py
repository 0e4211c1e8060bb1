"""Where a grounded answer stands, word for word, in the texts that were read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rcc_integrations.config import MOST_SPANS, SEPARATORS
from rcc_integrations.routing.passage import Passage


@dataclass(frozen=True)
class Span:
    """Where a grounded answer, or an item of it, stands in a document.

    Args:
        document: Id of the document.
        start: First character in the document's text.
        end: One past its last character.
    """

    document: str
    start: int
    end: int


def find_spans(answer: str, passages: Sequence[Passage]) -> tuple[Span, ...]:
    """Return where an answer stands verbatim: in one piece if it does, otherwise item by item of a list.

    Args:
        answer: The answer.
        passages: Where to look; of several places those at word boundaries, in the best passage, are taken first.

    Returns:
        As few spans as will do, in the order of the items; none if the answer, or one item of it, stands nowhere.
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
    """Return where an answer stands verbatim, at word boundaries if there is such a place; `None` if nowhere.

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
