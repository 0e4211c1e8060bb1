"""Fitting routing heads: which memory levels, on which questions, and how much words count beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rcc_integrations.config import NOT_STATED
from rcc_integrations.errors import DataError
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.model.slots import SlotLayout
from rcc_integrations.training.data.sample import Sample
from rcc_integrations.training.data.values import split_of
from rcc_integrations.training.routing_features import RoutingFeatures
from rcc_integrations.training.routing_mixture import ScoredQuestion, fit_mixture, score_questions
from rcc_integrations.training.routing_trainer import RoutingSettings, RoutingTrainer

#: The most memory levels that codes are made of; further ones hardly help.
_MOST_LEVELS = 7
#: Where questions are read, as a share of the decoder's layers: the layer of the default model's best retrieval heads.
_QUESTION_DEPTH = 0.6
#: Where memory levels lie if no order of layers says which ones look things up.
_LEVEL_DEPTHS = (0.45, 0.85)


@dataclass(frozen=True)
class FittedRouting:
    """A routing head and what it is worth.

    Args:
        head: The head.
        ratios: The model's ratios whose memories it reads.
        questions: Questions that were held back from its training.
        recall: Share of them whose first window found holds the answer; then of the first 3, and 8.
        by_words: The same by words alone.
    """

    head: RoutingHead
    ratios: tuple[int, ...]
    questions: int
    recall: tuple[float, float, float]
    by_words: tuple[float, float, float]


def fit_routing(
    model: RCCModel,
    samples: Sequence[Sample],
    *,
    settings: RoutingSettings | None = None,
    width: int = 96,
    report: Callable[[str], None] = lambda _: None,
) -> list[FittedRouting]:
    """Train the routing heads of a model, one for each group of ratios whose memories share their levels.

    Documents of one task make one collection. An eighth of the documents, chosen by their hash, is held back: it
    decides the mixture of memory and words, and shows what a head is worth.

    Args:
        model: The model; its routing heads are not changed.
        samples: Documents with questions.
        settings: How heads are trained.
        width: Bytes of the code of an entry.
        report: Called with lines of progress.

    Returns:
        The heads, those that read most levels first.

    Raises:
        DataError: If too few documents have questions.
    """
    settings = settings or RoutingSettings()
    fitted: list[FittedRouting] = []
    read: _Read | None = None
    ratios = sorted({model.config.ratio, *model.config.ratios}, key=lambda ratio: ratio != model.config.ratio)
    for ratio in ratios:
        if any(each.head.fits(model.layout(ratio)) for each in fitted):
            continue
        question_level = round(_QUESTION_DEPTH * model.levels)
        levels = memory_levels(model, model.layout(ratio))
        head = RoutingHead.of(model.spec, levels, (question_level,), width).to(model.device)
        # With focused placement an entry of a level is the same at every ratio, so that nothing is read twice.
        if read is not None and model.config.placement == "focused" and set(levels) <= set(read.head.levels):
            read = _Read(
                head, *([each.of_levels(read.head, head) for each in part] for part in (read.train, read.test))
            )
        else:
            read = _Read.of(model, head, samples, ratio, report)
        RoutingTrainer(head, read.train, settings, report).run()
        questions = score_questions(head, read.test)
        fit_mixture(head, questions)
        by_words = _recall(questions, (0.0, 1.0, 0.0, 0.0))
        fitted.append(FittedRouting(head, (), len(questions), _recall(questions, head.mixture.tolist()), by_words))
    fitted.sort(key=lambda each: -len(each.head.levels))
    served = {ratio: next(each for each in fitted if each.head.fits(model.layout(ratio))) for ratio in sorted(ratios)}
    return [replace(each, ratios=tuple(ratio for ratio in served if served[ratio] is each)) for each in fitted]


def memory_levels(model: RCCModel, layout: SlotLayout) -> tuple[int, ...]:
    """Return the levels of memories that codes are made of.

    Args:
        model: The model.
        layout: Of its memories.
    """
    if model.config.layers:
        wanted = [level for level in model.config.layers if level in layout.levels][:_MOST_LEVELS]
        return tuple(sorted(wanted))
    low, high = (depth * (model.levels - 1) for depth in _LEVEL_DEPTHS)
    return tuple(sorted({round(level) for level in np.linspace(low, high, _MOST_LEVELS)} & set(layout.levels)))


@dataclass(frozen=True, eq=False)
class _Read:
    """What a head is trained on, and what is held back."""

    head: RoutingHead
    train: list[RoutingFeatures]
    test: list[RoutingFeatures]

    @classmethod
    def of(
        cls, model: RCCModel, head: RoutingHead, samples: Sequence[Sample], ratio: int, report: Callable[[str], None]
    ) -> _Read:
        tasks: dict[str, dict[bool, list[Sample]]] = {}
        for sample in samples:
            if any(question.answers[0] != NOT_STATED for question in sample.questions):
                held = split_of(sample.text) == "validation"
                tasks.setdefault(sample.task, {True: [], False: []})[held].append(sample)
        parts = [[each[held] for each in tasks.values() if len(each[held]) > 1] for held in (False, True)]
        if not all(parts):
            raise DataError(
                f"{len(samples)} documents are too few to fit a routing head and to hold an eighth of them back: give "
                "more (command line: --routing-documents)."
            )
        done = 0

        def tell(count: int) -> None:
            nonlocal done
            if (done + count) // 1000 > done // 1000:
                report(f"routing, ratio {ratio}: {done + count} windows and questions read")
            done += count

        return cls(head, *([RoutingFeatures.read(model, head, each, ratio, tell) for each in part] for part in parts))


def _recall(questions: Sequence[ScoredQuestion], weights: Sequence[float]) -> tuple[float, float, float]:
    ranks = np.array([each.rank(weights) for each in questions])
    first, three, eight = (float((ranks <= most).mean()) for most in (1, 3, 8))
    return first, three, eight
