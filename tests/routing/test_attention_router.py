from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcc_integrations.routing import attention_router
from rcc_integrations.routing.attention_router import AttentionRouter, QuestionCodes


def by_hand(codes: np.ndarray, starts: np.ndarray, counts: np.ndarray, question: QuestionCodes) -> list[float]:
    return [
        sum(
            float(weight) * max(float(asked @ codes[row]) for row in range(start, start + count))
            for asked, weight in zip(question.codes, question.weights, strict=True)
        )
        for start, count in zip(starts, counts, strict=True)
    ]


@st.composite
def collections(draw):
    counts = draw(st.lists(st.integers(1, 9), min_size=1, max_size=30))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    gaps = chance.integers(0, 4, len(counts))
    order = chance.permutation(len(counts))
    starts = np.zeros(len(counts), np.int64)
    row = 0
    for number in order:
        row += int(gaps[number])
        starts[number] = row
        row += counts[number]
    codes = chance.integers(-127, 128, (row, 4)).astype(np.int8)
    tokens = draw(st.integers(1, 5))
    weights = chance.random(tokens).astype(np.float32)
    question = QuestionCodes(chance.normal(size=(tokens, 4)).astype(np.float32) / 100, weights / weights.sum())
    return codes, starts, np.array(counts), question


@given(collections(), st.integers(1, 40))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_scores_are_the_weighted_means_of_the_best_products(collection, chunk):
    codes, starts, counts, question = collection
    held, attention_router._CHUNK = attention_router._CHUNK, chunk
    try:
        scores = AttentionRouter(codes, starts, counts).scores(question)
    finally:
        attention_router._CHUNK = held
    assert scores == pytest.approx(by_hand(codes, starts, counts, question), abs=1e-4)


@given(collections(), st.data())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_windows_that_are_left_out_have_the_lowest_score_and_change_no_other(collection, data):
    codes, starts, counts, question = collection
    router = AttentionRouter(codes, starts, counts)
    some = data.draw(st.sets(st.integers(0, len(counts) - 1)))
    scores, everything = router.scores(question, sorted(some)), router.scores(question)
    for number in range(len(counts)):
        assert scores[number] == pytest.approx(everything[number] if number in some else -1, abs=1e-6)


def test_nothing_to_compare():
    question = QuestionCodes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    none = np.zeros(0, np.int64)
    assert len(AttentionRouter(np.zeros((0, 4), np.int8), none, none).scores(question)) == 0
    router = AttentionRouter(np.ones((3, 4), np.int8), np.array([0]), np.array([3]))
    assert router.scores(question).tolist() == [-1]
