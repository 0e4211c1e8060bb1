"""Supporting passages: sources for answers in the model's own words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from rcc_integrations.routing.passage import Passage
from rcc_integrations.routing.word_router import WORD, is_stop_word

#: A sentence or line.
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?!\s)[^.!?\n]*)*[.!?\n]*")

#: The least score of a place that supports an answer.
SUPPORTED = 0.5
#: Places with less of an answer are not named.
_LEAST = 0.34


@dataclass(frozen=True)
class Support:
    """A passage of a document that supports an answer.

    Args:
        document: Id of the document.
        start: Offset of its first character in the document's text.
        end: Offset after its last character.
        text: The passage, `stored_text[start:end]`.
        score: Share of the answer's words that the passage contains, from 0 to 1; rare words count for more.
    """

    document: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True)
class _Place:
    """A sentence and the one after it: words in small letters, with where they stand in the passage."""

    passage: Passage
    words: list[tuple[str, int, int]]

    @cached_property
    def said(self) -> set[str]:
        return {word for word, _, _ in self.words}

    def share(self, wanted: dict[str, float]) -> float:
        whole = sum(wanted.values())
        return sum(weight for word, weight in wanted.items() if word in self.said) / whole if whole else 0.0

    def narrowest(self, wanted: Iterable[str]) -> tuple[int, int]:
        """Return the shortest stretch that has every wanted word that stands here."""
        missing = self.said & set(wanted)
        held = [item for item in self.words if item[0] in missing]
        newest: dict[str, int] = {}
        found: tuple[int, int] | None = None
        for word, start, end in held:
            newest[word] = start
            if len(newest) == len(missing) and (found is None or end - min(newest.values()) < found[1] - found[0]):
                found = min(newest.values()), end
        assert found is not None
        return found


def find_support(answer: str, question: str, passages: Sequence[Passage], most: int) -> tuple[Support, ...]:
    """Return the shortest passages that contain an answer's words.

    A word counts by its rarity in the passages; stop words such as `the` and `is` count only in an answer that has no
    other words. Among equal passages, those with more of the question's words come first, then those in the window
    that matches the question better.

    Args:
        answer: The answer.
        question: What was asked.
        passages: Where to look.
        most: Maximum number of passages to return.
    """
    if not most:
        return ()
    places = [place for passage in passages for place in _places(passage)]
    wanted, asked = _weights(answer, places), _weights(question, places)
    found = [((round(score, 3), place.share(asked), place.passage.score), place)
             for place in places if (score := place.share(wanted)) >= _LEAST]  # fmt: skip
    kept: list[Support] = []
    for (score, *_), place in sorted(found, key=lambda each: each[0], reverse=True):
        if len(kept) == most:
            break
        start, end = place.narrowest(wanted)
        at, passage = place.passage.start, place.passage
        support = Support(passage.document, at + start, at + end, passage.text[start:end], score)
        if not any(_overlap(support, other) for other in kept):
            kept.append(support)
    return tuple(kept)


def _places(passage: Passage) -> Iterator[_Place]:
    spans = [match.span() for match in _SENTENCE.finditer(passage.text) if match.end() > match.start()]
    for number, (start, end) in enumerate(spans):
        after = spans[number + 1][1] if number + 1 < len(spans) else end
        words = [(match.group().casefold(), *match.span()) for match in WORD.finditer(passage.text, start, after)]
        yield _Place(passage, words)


def _weights(text: str, places: Sequence[_Place]) -> dict[str, float]:
    """Return how much each word of a text counts."""
    words = dict.fromkeys(match.group().casefold() for match in WORD.finditer(text))
    content = [word for word in words if not is_stop_word(word)] or list(words)
    return {word: math.log1p(len(places) / (1 + sum(word in place.said for place in places))) for word in content}


def _overlap(one: Support, other: Support) -> bool:
    return one.document == other.document and one.start < other.end and other.start < one.end
