from __future__ import annotations

import numpy as np
import pytest

from rcc_integrations.routing.route import Scorer, choose_windows


def never() -> np.ndarray:
    raise AssertionError("scored although all windows fit")


def test_all_windows_that_fit_are_chosen_without_scoring():
    route = choose_windows(Scorer(never), [1, 3, 4], [5] * 6, room=15)
    assert route.chosen == (1, 3, 4)
    with pytest.raises(AssertionError):
        _ = route.scores


def test_the_best_that_fit_are_chosen_in_their_order():
    scores = np.array([1.0, 9.0, 3.0, 8.0])
    route = choose_windows(Scorer(lambda: scores), range(4), [4, 4, 4, 4], room=9)
    assert route.chosen == (1, 3) and route.ranked == (1, 3)
    assert choose_windows(Scorer(lambda: scores), range(4), [4] * 4, room=100, most=1).chosen == (1,)
    # One that is too large does not keep smaller ones out.
    assert choose_windows(Scorer(lambda: scores), range(4), [4, 50, 4, 4], room=9).chosen == (2, 3)
    assert choose_windows(Scorer(lambda: scores), range(4), [50] * 4, room=9).chosen == ()


def test_equal_scores_keep_the_order():
    assert choose_windows(Scorer(lambda: np.zeros(5)), range(5), [1] * 5, room=2).chosen == (0, 1)
