from __future__ import annotations

import numpy as np
import pytest

from rcc_integrations.routing.word_router import WordRouter

TEXTS = ["The ferry leaves at 7:45.", "Ines works as a harbour pilot.", "図書館は九時に開きます。", "", "!!! ---"]


def test_the_window_that_shares_words_comes_first():
    scores = WordRouter(TEXTS).scores("Who is the harbour PILOT?")
    assert scores.argmax() == 1 and scores[1] > 0 == scores[0]


def test_scripts_without_spaces():
    assert WordRouter(TEXTS).scores("図書館").argmax() == 2


@pytest.mark.parametrize("question", ["", "zzz", "???", "the of and"])
def test_a_question_that_shares_nothing_scores_nothing(question):
    assert not WordRouter(TEXTS).scores(question).any()


@pytest.mark.parametrize("texts", [[], [""], ["...", ""]])
def test_nothing_to_rank(texts):
    assert np.array_equal(WordRouter(texts).scores("ferry"), np.zeros(len(texts)))
