"""Whether a question can be understood without the one before it."""

from __future__ import annotations

import re

_OPENING = re.compile(r"^\s*(and|but|or|so|then|also|what about|how about|which one)\b", re.IGNORECASE)
_BARE = re.compile(r"^\s*(why|when|where|who|how|how much|how many|how long|which)\s*(not)?\s*\?*\s*$", re.IGNORECASE)
_PRONOUN = re.compile(
    r"\b(it|its|itself|he|him|his|she|her|hers|they|them|their|theirs|these|those)\b"
    r"|\b(this|that|there|then|one|ones|the same)\s*[?.!]*\s*$",
    re.IGNORECASE,
)


def refers_back(question: str) -> bool:
    """Tell whether a question points at something that was said before.

    A guess from its words: it begins as a continuation does (`And on Sundays?`), is a bare `Why?`, or holds a pronoun.
    English only; a question of another language is taken to stand alone.

    Args:
        question: The question.
    """
    return any(pattern.search(question) for pattern in (_OPENING, _BARE, _PRONOUN))
