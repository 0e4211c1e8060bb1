"""Weights that turn probabilities into confidence."""

from __future__ import annotations

from random import Random

import pytest

from rcc_integrations.errors import DataError
from rcc_integrations.evaluation.calibration import Judged, answered, calibrate, declining, questions
from rcc_integrations.evaluation.datasets import UNANSWERABLE
from rcc_integrations.model.confidence import confidence
from rcc_integrations.model.evidence import Evidence


def judged(count: int, seed: int = 0) -> list[Judged]:
    """Right answers were likely, wrong ones less so, and unanswerable questions nearly declined."""
    rng, found = Random(seed), []
    for number in range(count):
        kind = number % 3
        tokens = [rng.gauss(-0.1, 0.1) if kind == 0 else rng.gauss(-1.0, 0.5) for _ in range(4)]
        right = kind < 2 and rng.random() < (0.9, 0.1)[kind]
        found.append(Judged(kind < 2, right, Evidence(tuple(tokens), rng.gauss(-1.0 if kind == 2 else -6.0, 1.0))))
    return found


def test_calibrated_confidence_says_how_often_answers_are_right():
    weights = calibrate(judged(600))
    unseen = [(confidence(each.evidence, weights), each.right) for each in judged(600, seed=1)]
    for low, high in ((0.0, 0.3), (0.7, 1.01)):
        inside = [(sure, right) for sure, right in unseen if low <= sure < high]
        assert len(inside) > 50
        mean, share = (sum(column) / len(inside) for column in zip(*inside, strict=True))
        assert abs(mean - share) < 0.1


def test_a_threshold_is_counted():
    some = judged(300)
    right = sum(each.right for each in some)
    weights = calibrate(some)
    none, half, all_of_them = (declining(some, weights, threshold) for threshold in (0.0, 0.5, 1.01))
    assert (none.declined, none.caught, none.right, none.recall, none.precision) == (0, 0, right, 0.0, 1.0)
    assert (all_of_them.declined, all_of_them.caught, all_of_them.right) == (300, 100, 0)
    assert half.recall > 0.9 and half.right > 0.8 * right
    assert half.cells()[1] == f"{half.caught} of 100"


def test_without_wrong_answers_there_is_nothing_to_learn():
    with pytest.raises(DataError, match="are right"):
        calibrate([each for each in judged(9) if each.right])


def test_questions_have_both_kinds_and_are_asked_from_memory(model):
    samples = questions(3)
    assert samples == questions(3) != questions(3, seed=1)
    kinds = [question.kind for sample in samples for question in sample.questions]
    assert 0 < kinds.count(UNANSWERABLE) < len(kinds)
    done: list[int] = []
    found = answered(model, samples, tell=done.append)
    assert done == [1, 2, 3] and len(found) == len(kinds)
    assert not any(each.right for each in found if not each.answerable)
    assert all(each.evidence.tokens for each in found)
