from __future__ import annotations

import pytest

from rcc_integrations.routing.word_router import Router

TEXTS = ["The ferry leaves at 7:45.", "Ines works as a harbour pilot.", "図書館は九時に開きます。", "", "!!! ---"]


def test_the_window_that_shares_words_comes_first():
    router = Router(TEXTS)
    route = router.route("Who is the harbour PILOT?", range(5), [10] * 5, room=100)
    assert route.ranked[0] == 1
    assert route.chosen == (0, 1, 2, 3, 4)
    assert route.scores[1] > 0 == route.scores[0]


def test_scripts_without_spaces():
    assert Router(TEXTS).route("図書館", range(5), [1] * 5, room=1).chosen == (2,)


def test_room_and_number_are_kept():
    router = Router([f"word{number} ferry" for number in range(10)])
    route = router.route("ferry word7", range(10), [4] * 10, room=13)
    assert len(route.chosen) == 3
    assert 7 in route.chosen
    assert list(route.chosen) == sorted(route.chosen)
    assert router.route("ferry", range(10), [4] * 10, room=100, most=2).chosen == (0, 1)
    assert router.route("ferry", [3, 5], [4] * 10, room=100).chosen == (3, 5)
    # One that is too large does not keep smaller ones out.
    assert router.route("word0", range(3), [50, 4, 4], room=10).chosen == (1, 2)


@pytest.mark.parametrize("question", ["", "zzz", "???", "the of and"])
def test_a_question_that_shares_nothing_keeps_the_order(question):
    route = Router(TEXTS).route(question, range(5), [1] * 5, room=2)
    assert route.chosen == (0, 1)
    assert not route.scores.any()


@pytest.mark.parametrize("texts", [[], [""], ["...", ""]])
def test_nothing_to_rank(texts):
    assert len(Router(texts).scores("ferry")) == len(texts)
