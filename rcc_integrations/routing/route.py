"""`Route`: the windows that were chosen for a question, and how they were scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

#: How windows are chosen: by memory and words, by memory alone, or by shared words alone.
Routing = Literal["both", "memory", "words"]
ROUTINGS: tuple[str, ...] = get_args(Routing)


@dataclass(frozen=True)
class Scorer:
    """Scores the windows of a collection for one question.

    Args:
        scores: Returns the score of every window that there is, shape (windows,), float32.
        ceiling: Returns what no score exceeds.
    """

    scores: Callable[[], np.ndarray]
    ceiling: Callable[[], float] = lambda: 1.0


@dataclass(frozen=True)
class Route:
    """Windows for a question.

    Args:
        chosen: Numbers of the windows that go into the prefix, ascending.
        score: Returns the score of every window that there is; called when it is first needed.
        ceiling: Returns what no window's score for the question exceeds.
    """

    chosen: tuple[int, ...]
    score: Callable[[], np.ndarray]
    ceiling: Callable[[], float] = lambda: 1.0

    @cached_property
    def scores(self) -> np.ndarray:
        """The score of every window that there is."""
        return self.score()

    @cached_property
    def ranked(self) -> tuple[int, ...]:
        """The chosen numbers, best first."""
        return tuple(sorted(self.chosen, key=lambda number: -self.scores[number]))


def choose_windows(
    scorer: Scorer, numbers: Sequence[int], slots: Sequence[int], room: int, most: int | None = None
) -> Route:
    """Choose windows for a question: all of them if they fit, otherwise the best that do.

    Windows with equal scores follow in their own order, so that the room is used.

    Args:
        scorer: Scores every window that there is; not called if all windows fit and nobody asks.
        numbers: Windows to choose from, ascending.
        slots: Slots of every window that there is.
        room: The most slots.
        most: The most windows; `None` for no limit.
    """
    everything = Route(tuple(numbers), scorer.scores, scorer.ceiling)
    if sum(slots[number] for number in numbers) <= room and (most is None or len(numbers) <= most):
        return everything
    chosen: list[int] = []
    for number in everything.ranked:
        if len(chosen) == most:
            break
        if slots[number] <= room:
            chosen.append(number)
            room -= slots[number]
    return Route(tuple(sorted(chosen)), lambda: everything.scores, scorer.ceiling)
