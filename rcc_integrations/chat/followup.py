"""Questions that refer back to the one before."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rcc_integrations.reader.prompt import Turn
from rcc_integrations.reader.request import Request

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


def next_request(
    collection: str, question: str, history: Sequence[Mapping[str, str]], options: dict[str, Any]
) -> tuple[Request, bool]:
    """Make the request of a question in a conversation.

    A question that refers back is asked with the one before it: windows are chosen by both, and the model sees what was
    said. Any other question is asked alone, in the form that the model was trained on.

    Args:
        collection: Name of the collection.
        question: The question.
        history: What was said before, `{"role": "user" or "assistant", "content": …}`, in order.
        options: As `RCCReader.ask` takes them.

    Returns:
        The request, and whether the question refers back.

    Raises:
        ConfigError: An option cannot be used.
    """
    request = Request.about(collection, question, options)
    asked = [said["content"] for said in history if said["role"] == "user"]
    if not asked or not refers_back(question):
        return request, False
    answered = [said["content"] for said in history if said["role"] == "assistant"]
    turns = (Turn("user", asked[-1]), *(Turn("assistant", text) for text in answered[-1:]), Turn("user", question))
    return replace(request, question=f"{asked[-1]} {question}", turns=turns), True
