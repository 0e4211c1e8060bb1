"""How the scores of memory and of words become one: the probability of each window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mixed_scores(
    mixture: Sequence[float], owners: np.ndarray, numbers: Sequence[int], memory: np.ndarray, words: np.ndarray | None
) -> np.ndarray:
    """Return how likely each window is the one that a question asks for.

    A window's logit is a weighted sum of its own scores and of the best ones of its document: a document often says
    in one window what it is about and answers in another. Words are scored by BM25, scaled to the best window.

    Args:
        mixture: Weights of memory, words, and of the best window of the same document by memory and by words.
        owners: The document of every window, as numbers that rise with the windows, shape (windows,).
        numbers: The windows that compete; the others have 0.
        memory: Scores by memory, shape (windows,).
        words: Scores by words, shape (windows,); `None` to go by memory alone.

    Returns:
        Probabilities of sum 1, shape (windows,), float32.
    """
    scores = np.zeros(len(owners), np.float32)
    chosen = np.asarray(numbers, np.int64)
    if not len(chosen):
        return scores
    logits = _logits(mixture[0], mixture[2], memory[chosen], owners[chosen])
    if words is not None and (best := float(words[chosen].max())) > 0:
        logits += _logits(mixture[1], mixture[3], words[chosen] / best, owners[chosen])
    powers = np.exp(logits - logits.max())
    scores[chosen] = powers / powers.sum()
    return scores


def _logits(own: float, document: float, scores: np.ndarray, owners: np.ndarray) -> np.ndarray:
    firsts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    best = np.maximum.reduceat(scores, firsts)
    spread = np.repeat(best, np.diff(np.r_[firsts, len(scores)]))
    logits: np.ndarray = own * scores + document * spread
    return logits
