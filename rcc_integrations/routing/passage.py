"""`Passage`: a stretch of text that an answer may draw on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """A part of a document in memory: one window, or several consecutive ones.

    Args:
        document: Id of the document.
        start: Its first character in the document's text.
        text: The text.
        score: How well it matches the question (BM25); of several equal spans, the one in the best passage is named.
    """

    document: str
    start: int
    text: str
    score: float = 0.0
