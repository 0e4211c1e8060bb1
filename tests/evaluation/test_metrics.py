from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcc_integrations.evaluation.metrics import best, contains, exact_match, normalise, token_f1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("  The  Barley,\nand a Quince! ", "barley and quince"),
        ("4.8", "48"),
        ("16:47", "1647"),
        ("An answer theatre", "answer theatre"),
        ("the", ""),
    ],
)
def test_normalise(text, wanted):
    assert normalise(text) == wanted


def test_exact_match_after_normalising_alone():
    assert exact_match("The 22 dumplings.", "22 dumplings") == 1
    assert exact_match("22 dumplings or so", "22 dumplings") == 0


@pytest.mark.parametrize(
    ("prediction", "answer", "wanted"),
    [
        ("red red blue", "red green", 2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2)),
        ("red red", "red red", 1.0),
        ("red", "red red", 2 * 1 * 0.5 / 1.5),
        ("blue", "red", 0.0),
        ("", "red", 0.0),
        ("the", "a", 1.0),
    ],
)
def test_token_f1_counts_tokens_as_often_as_they_occur(prediction, answer, wanted):
    assert token_f1(prediction, answer) == pytest.approx(wanted)


def test_contains_whole_tokens():
    assert contains("There are 7 of them", "7") == 1
    assert contains("There are 27 of them", "7") == 0
    assert contains("of goose fat and leeks", "goose fat") == 1
    assert contains("goose and fat", "goose fat") == 0
    assert contains("anything", "the") == 0


def test_best_takes_the_variant_that_fits():
    assert best(exact_match, "3 days", ["three days", "3 days"]) == 1
    assert best(token_f1, "three", ["days", "three days"]) == pytest.approx(2 / 3)


#: Of few words, so that answers are often equal, or part of one another.
PHRASES = st.lists(st.sampled_from(["three", "Three", "days", "days.", "the", "a", "3", "é", "?"]), max_size=3).map(
    " ".join
)


@given(st.one_of(PHRASES, st.text()), st.one_of(PHRASES, st.text()))
def test_the_three_agree(prediction, answer):
    if exact_match(prediction, answer):
        assert token_f1(prediction, answer) == 1 and contains(prediction, answer) == 1
    if contains(prediction, answer) and normalise(answer):
        assert token_f1(prediction, answer) > 0
