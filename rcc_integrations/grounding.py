"""Grounded answers: held, token by token, to what stands verbatim in the texts whose memories are read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rcc_integrations.answer import Span

if TYPE_CHECKING:
    from rcc_integrations.model.grammar import Grammar

#: What a grounded answer may be instead, where the texts do not answer the question.
NOT_STATED = "not stated"


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


def grounded_grammar(passages: Sequence[Passage]) -> Grammar:
    """Return the grammar of all answers that are whole words of one passage, or `NOT_STATED`.

    The passages' words are laid into one automaton of all their substrings (llguidance's `substring_words`), so a
    step costs the same for a sentence as for a book; building it is linear in their length.

    Args:
        passages: At least one, none empty.

    Raises:
        ConfigError: If a passage cannot be laid into a grammar.
    """
    from rcc_integrations.model.grammar import Grammar

    texts = dict.fromkeys(passage.text for passage in passages)
    rules = [f"S{number}: %regex {json.dumps({'substring_words': text})}" for number, text in enumerate(texts)]
    spans = [f"A{number}: S{number} & /(.|\\n)*\\S/" for number in range(len(texts))]
    starts = " | ".join([*(f"A{number}" for number in range(len(texts))), json.dumps(NOT_STATED)])
    return Grammar.lark("\n".join([f"start: {starts}", *spans, *rules]))


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


def _occurrences(answer: str, text: str) -> Iterator[int]:
    at = text.find(answer)
    while at >= 0:
        yield at
        at = text.find(answer, at + 1)


def _splits(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()
