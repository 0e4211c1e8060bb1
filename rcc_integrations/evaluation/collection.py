"""`WholeSet`: all documents of a set in one collection, and which of its windows are found for a question."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from rcc_integrations.errors import DataError
from rcc_integrations.evaluation.material import Material
from rcc_integrations.evaluation.reading import Reading
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.routing.attention_router import AttentionRouter, QuestionCodes
from rcc_integrations.routing.mixture import mixed_scores
from rcc_integrations.routing.word_router import WordRouter
from rcc_integrations.training.data.sample import Question

#: How windows are found; `right` is the window that holds the answer, alone.
Ranker = Literal["bm25", "vector", "fused", "memory", "both", "right"]
RANKERS: dict[Ranker, str] = {
    "bm25": "BM25",
    "vector": "vectors",
    "fused": "BM25 and vectors, fused",
    "memory": "memory",
    "both": "memory and words",
    "right": "the right window alone",
}
assert set(RANKERS) == set(get_args(Ranker))

#: The constant of reciprocal rank fusion (Cormack et al., SIGIR 2009).
_FUSION = 60


class WholeSet:
    """The windows of all documents of one set.

    Args:
        material: Model and documents.
        task: Name of the set.
        ratio: Compression ratio.
    """

    def __init__(self, material: Material, task: str, ratio: int) -> None:
        self._material, self._ratio = material, ratio
        self.documents = [each for each, sample in enumerate(material.samples) if sample.task == task]
        self.windows = [(document, place) for document in self.documents
                        for place in range(len(material.windows(document)))]  # fmt: skip
        self.owners = np.array([document for document, _ in self.windows])
        self.texts = [self._text(document, place) for document, place in self.windows]

    def right(self, number: int, question: Question) -> list[int]:
        """Return the windows of a document that hold an accepted answer, word for word; the first that stands there.

        Args:
            number: The document.
            question: The question.
        """
        text = self._material.samples[number].text
        for answer in question.answers:
            pattern = rf"(?<!\w){re.escape(answer)}(?!\w)"
            starts = [match.start() for match in re.finditer(pattern, text, re.IGNORECASE)]
            cut = self._material.windows(number)
            places = [place for place, window in enumerate(cut)
                      if any(window.start <= start < window.end for start in starts)]  # fmt: skip
            if places:
                return [self.windows.index((number, place)) for place in places]
        return []

    def scores(self, ranker: Ranker, question: str) -> np.ndarray:
        """Return a score for every window, shape (windows,).

        Args:
            ranker: How windows are found; not `right`.
            question: The question.

        Raises:
            DataError: If the model cannot find windows by memory at this ratio.
        """
        if ranker == "bm25":
            return self._words.scores(question)
        if ranker == "vector":
            scores: np.ndarray = self._vectors @ self._material.embedder.vectors([question])[0]
            return scores
        if ranker == "fused":
            ranks = [_ranks(self.scores(each, question)) for each in ("bm25", "vector")]
            return np.asarray(sum(1 / (_FUSION + rank) for rank in ranks))
        head = self._head
        memory = self._attention.scores(QuestionCodes(*self._material.model.question_codes(question, head)))
        words = self._words.scores(question) if ranker == "both" else None
        return mixed_scores(head.mixture.tolist(), self.owners, range(len(self.windows)), memory, words)

    @cached_property
    def _words(self) -> WordRouter:
        return WordRouter(self.texts)

    @cached_property
    def _vectors(self) -> np.ndarray:
        return self._material.embedder.vectors(self.texts)

    @cached_property
    def _head(self) -> RoutingHead:
        head = self._material.model.routing_head(self._ratio)
        if head is None:
            raise DataError(f"The model has no routing head for memories of ratio {self._ratio}: `rcc calibrate`.")
        return head

    @cached_property
    def _attention(self) -> AttentionRouter:
        layout = self._material.model.layout(self._ratio)
        codes = [self._head.stored(memory, layout) for document in self.documents
                 for memory in self._material.memories(document, self._ratio)]  # fmt: skip
        counts = np.array([len(each) for each in codes])
        return AttentionRouter(np.concatenate(codes), np.cumsum(counts) - counts, counts)

    def _text(self, document: int, place: int) -> str:
        window = self._material.windows(document)[place]
        return self._material.samples[document].text[window.start : window.end]


def among_all(material: Material, number: int, *, ratio: int, ranker: Ranker, windows: int) -> list[Reading]:
    """Read, for every question of a document, the windows of the whole set that are found for it.

    Args:
        material: Model and documents.
        number: The document.
        ratio: Compression ratio.
        ranker: How windows are found.
        windows: Windows in memory.

    Raises:
        DataError: If `right` is asked for and no window of the document holds an answer to any of the questions, or
            the model cannot find windows by memory.
    """
    task = material.samples[number].task
    whole = material.once(("collection", task, ratio), lambda: WholeSet(material, task, ratio))
    readings = []
    for question in material.samples[number].questions:
        right = whole.right(number, question)
        if ranker == "right":
            # Where no window has the answer word for word, any of the document's own may be the one.
            chosen = right[:1] or [each for each, (document, _) in enumerate(whole.windows) if document == number]
            rank = 1 if right else None
        else:
            order = np.argsort(-whole.scores(ranker, question.q), kind="stable").tolist()
            chosen = sorted(order[:windows])
            rank = 1 + min(order.index(each) for each in right) if right else None
        readings.append(Reading(material.model.prefix(_memories(material, whole, chosen, ratio), ratio=ratio),
                                len(chosen), rank=rank))  # fmt: skip
    return readings


def _memories(material: Material, whole: WholeSet, chosen: Sequence[int], ratio: int) -> list[Memory]:
    places = [whole.windows[each] for each in chosen]
    return [material.memories(document, ratio)[place] for document, place in places]


def _ranks(scores: np.ndarray) -> np.ndarray:
    """Return the rank of every score, 1 for the highest."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks
