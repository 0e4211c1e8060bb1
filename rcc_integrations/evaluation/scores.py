"""`Score`: what a condition reached on some of its questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from rcc_integrations.evaluation.datasets import UNANSWERABLE
from rcc_integrations.evaluation.metrics import best, contains, exact_match, token_f1
from rcc_integrations.evaluation.results import Results


@dataclass(frozen=True)
class Judged:
    """One prediction and how it was judged.

    Args:
        set: Name of the set.
        kind: Kind of the question.
        place: Third of its window in which the answer stands, if that can be told.
        exact: Exact match, 0 or 1.
        f1: Token F1.
        contains: Contains, 0 or 1.
        words: Length of the prediction in words.
        positions: Decoder positions in front of the question, the prompt's opening not counted.
        windows: Windows in memory.
    """

    set: str
    kind: str
    place: str | None
    exact: float
    f1: float
    contains: float
    words: int
    positions: int
    windows: int

    @property
    def answerable(self) -> bool:
        """Whether the text answers the question."""
        return self.kind != UNANSWERABLE


@dataclass(frozen=True)
class Score:
    """Sums and means over some predictions.

    Args:
        questions: How many.
        exact: Number of exact matches.
        f1: Mean token F1.
        contains: Number of predictions that contain an accepted answer.
        words: Mean length of a prediction in words.
        positions: Mean number of decoder positions in front of the question.
        windows: Mean number of windows in memory.
    """

    questions: int
    exact: int
    f1: float
    contains: int
    words: float
    positions: float
    windows: float


def judged(results: Results, condition: str) -> list[Judged]:
    """Judge every prediction of a condition."""
    found = []
    for number, made in results.conditions[condition]["predictions"].items():
        question = results.questions[int(number)]
        exact, f1, held = (
            best(metric, made["text"], question["answers"]) for metric in (exact_match, token_f1, contains)
        )
        found.append(
            Judged(
                question["set"],
                question["kind"],
                question["place"],
                exact,
                f1,
                held,
                len(made["text"].split()),
                made["positions"],
                made["windows"],
            )
        )
    return found


def score(rows: Sequence[Judged]) -> Score | None:
    """Sum up predictions; `None` if there are none."""
    if not rows:
        return None

    def mean(value: Callable[[Judged], float]) -> float:
        return fmean(value(row) for row in rows)

    return Score(
        questions=len(rows),
        exact=round(sum(row.exact for row in rows)),
        f1=mean(lambda row: row.f1),
        contains=round(sum(row.contains for row in rows)),
        words=mean(lambda row: row.words),
        positions=mean(lambda row: row.positions),
        windows=mean(lambda row: row.windows),
    )


def ordered(results: Results) -> list[str]:
    """Return the names of the conditions that were run, in the order of tables."""
    from rcc_integrations.evaluation.conditions import FAMILIES

    families = list(FAMILIES)

    def place(name: str) -> tuple[int, int, int]:
        record = results.conditions[name]
        return families.index(record["family"]), record["ratio"] or 0, record["windows"] or 0

    return sorted(results.conditions, key=place)
