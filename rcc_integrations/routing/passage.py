"""`Passage`: a stretch of text that an answer may draw on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A part of a document whose memory is read: one window, or several that follow one another.

    Args:
        document: Id of the document.
        start: Its first character in the document's text.
        text: The text.
        score: How well its words fit the question; of equal spans the one in the best passage is named.
    """

    document: str
    start: int
    text: str
    score: float = 0.0
