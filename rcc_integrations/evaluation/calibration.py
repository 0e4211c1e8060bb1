"""Calibration: the weights that turn the decoder's probabilities into the confidence of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import torch

from rcc_integrations.errors import DataError
from rcc_integrations.evaluation.datasets import UNANSWERABLE
from rcc_integrations.evaluation.metrics import best, contains
from rcc_integrations.model.confidence import confidence, signals
from rcc_integrations.model.evidence import Evidence
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.routing.passage import Passage
from rcc_integrations.routing.support import SUPPORTED, find_support
from rcc_integrations.training.data.composer import Composer
from rcc_integrations.training.data.sample import Sample

#: Keeps weights of few questions small.
_DECAY = 1.0


@dataclass(frozen=True)
class Judged:
    """An answer from memory.

    Args:
        answerable: Whether the text answers the question.
        right: Whether the answer is correct; always false for unanswerable questions.
        evidence: The decoder's probabilities.
        supported: Whether a passage supports the answer.
    """

    answerable: bool
    right: bool
    evidence: Evidence
    supported: bool = True


def questions(documents: int, seed: int = 0) -> list[Sample]:
    """Compose documents of the validation split; about a third of their questions are unanswerable.

    Args:
        documents: How many.
        seed: The seed of everything.
    """
    composer = Composer("validation", questions=4, unanswerable=0.7)
    return [composer.sample(Random(f"calibration:{seed}:{number}")) for number in range(documents)]


def answered(
    model: RCCModel, samples: Sequence[Sample], ratio: int | None = None, tell: Callable[[int], None] = lambda _: None
) -> list[Judged]:
    """Ask every question of some documents from memory.

    Args:
        model: The model.
        samples: Documents with questions.
        ratio: Compression ratio; the model's default if not given.
        tell: Called with the number of documents that are done.
    """
    ratio = model.config.ratio if ratio is None else ratio
    found = []
    for number, sample in enumerate(samples, 1):
        if sample.questions:
            prefix = model.prefix(model.compress([window.ids for window in model.cut(sample.text)], ratio), ratio=ratio)
            asked = [model.question_ids(question.q) for question in sample.questions]
            made = model.generate([prefix] * len(asked), asked, GenerationOptions(max_new_tokens=40))
            passage = Passage(sample.id, 0, sample.text)
            for question, one in zip(sample.questions, made, strict=True):
                answerable = question.kind != UNANSWERABLE
                right = answerable and best(contains, one.text, question.answers) > 0
                support = find_support(one.text, question.q, [passage], 1)
                supported = any(place.score >= SUPPORTED for place in support)
                found.append(Judged(answerable, right, one.evidence, supported))
        tell(number)
    return found


def calibrate(judged: Sequence[Judged]) -> tuple[float, ...]:
    """Fit the weights by logistic regression.

    Args:
        judged: Correct and incorrect answers.

    Returns:
        Four numbers for `RCCConfig.confidence`.

    Raises:
        DataError: All answers are correct, or none is.
    """
    wanted = torch.tensor([float(each.right) for each in judged], dtype=torch.float64)
    if not 0 < wanted.sum() < len(wanted):
        raise DataError(
            f"Calibration needs right answers and wrong ones: {int(wanted.sum())} of {len(wanted)} are right."
        )
    seen = torch.tensor([(1.0, *signals(each.evidence)) for each in judged], dtype=torch.float64)
    weights = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        missed = torch.nn.functional.binary_cross_entropy_with_logits(seen @ weights, wanted)
        total: torch.Tensor = missed + _DECAY / len(judged) * weights[1:].square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return tuple(round(weight, 4) for weight in weights.detach().tolist())


#: Headings of `Declining.cells`.
COLUMNS = (
    "min_confidence",
    "abstained on unanswerable",
    "precision",
    "recall",
    "answers given",
    "of these correct",
)


@dataclass(frozen=True)
class Declining:
    """The effect of `min_confidence` on some answers.

    Args:
        threshold: The value of `min_confidence`.
        caught: Unanswerable questions with a lower confidence.
        unanswerable: Unanswerable questions in total.
        declined: Questions with a lower confidence.
        asked: Questions in total.
        right: Correct answers among the others.
    """

    threshold: float
    caught: int
    unanswerable: int
    declined: int
    asked: int
    right: int

    @property
    def precision(self) -> float:
        """Share of unanswerable questions among those below the threshold; 1 if there are none."""
        return self.caught / self.declined if self.declined else 1.0

    @property
    def recall(self) -> float:
        """Share of unanswerable questions that are below the threshold; 1 if there are none."""
        return self.caught / self.unanswerable if self.unanswerable else 1.0

    def cells(self) -> tuple[str, ...]:
        """Return a row of a table under `COLUMNS`."""
        given = self.asked - self.declined
        right = f"{self.right} ({self.right / given:.0%})" if given else "–"
        return (f"{self.threshold:.1f}", f"{self.caught} of {self.unanswerable}", f"{self.precision:.2f}",
                f"{self.recall:.2f}", f"{given} of {self.asked}", right)  # fmt: skip


def declining(judged: Sequence[Judged], weights: Sequence[float], threshold: float) -> Declining:
    """Count the effect of `min_confidence`.

    Args:
        judged: Answers.
        weights: As returned by `calibrate`.
        threshold: The value of `min_confidence`.
    """
    below = [each for each in judged if confidence(each.evidence, weights) < threshold]
    right = sum(each.right for each in judged) - sum(each.right for each in below)
    silent = sum(not each.answerable for each in judged)
    return Declining(threshold, sum(not each.answerable for each in below), silent, len(below), len(judged), right)
