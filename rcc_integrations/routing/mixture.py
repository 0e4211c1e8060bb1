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
    parts = score_parts(owners[chosen], memory[chosen], None if words is None else words[chosen])
    logits = sum(weight * part for weight, part in zip(mixture, parts, strict=True))
    powers = np.exp(logits - np.max(logits))
    scores[chosen] = powers / powers.sum()
    return scores


def score_parts(owners: np.ndarray, memory: np.ndarray, words: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Return what the logits of windows are made of, in the order of a mixture's weights.

    Args:
        owners: The document of every window, ascending, shape (windows,).
        memory: Scores by memory, shape (windows,).
        words: Scores by words, shape (windows,); `None` for none.

    Returns:
        Four arrays of shape (windows,).
    """
    best = 0.0 if words is None else float(words.max())
    scaled = words / best if words is not None and best > 0 else np.zeros_like(memory)
    return memory, scaled, _of_document(owners, memory), _of_document(owners, scaled)


def _of_document(owners: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return for every window the best score in its document."""
    firsts = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    return np.repeat(np.maximum.reduceat(scores, firsts), np.diff(np.r_[firsts, len(scores)]))
