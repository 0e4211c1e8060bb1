from __future__ import annotations

import numpy as np
import pytest

from rcc_integrations.routing.mixture import mixed_scores, score_parts

OWNERS = np.array([0, 0, 4, 4, 4, 9])
MEMORY = np.array([0.1, 0.5, 0.2, 0.9, 0.3, 0.4], np.float32)
WORDS = np.array([0.0, 8.0, 0.0, 2.0, 4.0, 0.0], np.float32)


def test_parts_are_own_scores_and_the_best_of_the_document():
    memory, words, of_document, words_of_document = score_parts(OWNERS, MEMORY, WORDS)
    assert memory.tolist() == MEMORY.tolist()
    assert words.tolist() == [0, 1, 0, 0.25, 0.5, 0]
    assert of_document == pytest.approx([0.5, 0.5, 0.9, 0.9, 0.9, 0.4])
    assert words_of_document.tolist() == [1, 1, 0.5, 0.5, 0.5, 0]


def test_scores_are_probabilities_over_the_windows_that_compete():
    scores = mixed_scores((5.0, 1.0, 2.0, 0.5), OWNERS, [0, 1, 3, 5], MEMORY, WORDS)
    assert scores.sum() == pytest.approx(1) and (scores[[2, 4]] == 0).all() and (scores[[0, 1, 3, 5]] > 0).all()
    # What does not compete does not count for its document either.
    parts = np.stack(score_parts(OWNERS[[0, 1, 3, 5]], MEMORY[[0, 1, 3, 5]], WORDS[[0, 1, 3, 5]]), -1)
    powers = np.exp(parts @ [5.0, 1.0, 2.0, 0.5])
    assert scores[[0, 1, 3, 5]] == pytest.approx(powers / powers.sum(), rel=1e-5)


def test_memory_alone_and_words_without_a_match():
    alone = mixed_scores((5.0, 1.0, 0.0, 0.0), OWNERS, range(6), MEMORY, None)
    assert alone.argmax() == 3
    assert alone.tolist() == mixed_scores((5.0, 1.0, 0.0, 0.0), OWNERS, range(6), MEMORY, np.zeros(6)).tolist()


def test_no_window_competes():
    assert not mixed_scores((1.0, 1.0, 0.0, 0.0), OWNERS, [], MEMORY, WORDS).any()
