"""`AttentionRouter`: which windows a question's tokens find something in, by codes of their memories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

#: Entries whose codes are compared at once: what this takes in RAM stays in the processor's cache.
_CHUNK = 1 << 15


@dataclass(frozen=True, eq=False)
class QuestionCodes:
    """A question as the router compares it.

    Args:
        codes: A code for every token of the question, shape (tokens, width), float32, in units of the stored codes:
            its product with the code of an entry is their cosine.
        weights: How much each token says, shape (tokens,), float32, of sum 1.
    """

    codes: np.ndarray
    weights: np.ndarray


class AttentionRouter:
    """Ranks windows by late interaction (ColBERT, arXiv 2004.12832) between a question's tokens and stored memories.

    Every token of the question takes the entry of a window's memory that it attends to most; a window's score is the
    weighted mean of these cosines. No softmax runs across windows, so a score does not depend on how many others
    there are.

    Args:
        codes: Codes of all entries, int8, shape (entries, width); may be mapped from disk.
        starts: For each window, the first of its rows in `codes`, shape (windows,).
        counts: For each window, how many rows it has, at least 1, shape (windows,).
    """

    def __init__(self, codes: np.ndarray, starts: np.ndarray, counts: np.ndarray) -> None:
        self._codes, self._starts, self._counts = codes, starts, counts

    def scores(self, question: QuestionCodes, numbers: Sequence[int] | None = None) -> np.ndarray:
        """Return a score from -1 to 1 for every window, shape (windows,), float32.

        Args:
            question: The question.
            numbers: The windows that are compared, all if not given; others have -1.
        """
        scores = np.full(len(self._starts), -1, np.float32)
        chosen = np.arange(len(self._starts)) if numbers is None else np.asarray(numbers, np.int64)
        if not len(chosen) or not len(question.codes):
            return scores
        # In the order of the file, so that neighbours are read in one piece.
        chosen = chosen[np.argsort(self._starts[chosen], kind="stable")]
        ends = np.cumsum(self._counts[chosen])
        first = 0
        while first < len(chosen):
            done = ends[first - 1] if first else 0
            last = max(first + 1, int(np.searchsorted(ends, done + _CHUNK, side="right")))
            part = chosen[first:last]
            scores[part] = self._compare(question, self._starts[part], self._counts[part])
            first = last
        return scores

    def _compare(self, question: QuestionCodes, starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
        ends = starts + counts
        breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
        runs = zip(starts[np.r_[0, breaks]], ends[np.r_[breaks - 1, len(ends) - 1]], strict=True)
        held = np.concatenate([self._codes[start:end] for start, end in runs]).astype(np.float32)
        best = np.maximum.reduceat(question.codes @ held.T, np.r_[0, np.cumsum(counts)[:-1]], axis=1)
        return np.asarray(question.weights @ best, dtype=np.float32)
