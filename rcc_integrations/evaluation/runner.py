"""`evaluate`: runs conditions over samples, with greedy generation."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcc_integrations.errors import BudgetError, ConfigError, DataError
from rcc_integrations.evaluation.conditions import Condition, conditions_for
from rcc_integrations.evaluation.material import Material
from rcc_integrations.evaluation.reading import Reading
from rcc_integrations.evaluation.results import Results, asked, header
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.training.data.sample import Sample

#: Positions of padded prefixes in one batch: bounds memory where documents are long.
_BATCH_POSITIONS = 16384


@dataclass(frozen=True)
class Progress:
    """The progress of an evaluation.

    Args:
        condition: Name of the condition.
        number: Its place among those to run, from 1.
        conditions: How many there are to run.
        done: Questions answered under it.
        questions: Questions in all.
        seconds: Time spent on it.
    """

    condition: str
    number: int
    conditions: int
    done: int
    questions: int
    seconds: float


@dataclass(frozen=True, eq=False)
class _Task:
    """A question in front of its reading."""

    number: int
    ids: list[int]
    reading: Reading


def evaluate(
    model: RCCModel,
    samples: Sequence[Sample],
    wanted: Sequence[Condition] | None = None,
    *,
    output: Path | None = None,
    batch: int = 16,
    max_new_tokens: int = 40,
    seed: int = 0,
    tell: Callable[[Progress], None] | None = None,
) -> Results:
    """Ask every question under every condition.

    Args:
        model: The model.
        samples: Documents with questions; those with the same `task` form a set.
        wanted: Conditions; all that apply to the model if not given.
        output: Folder for the results; conditions that it already contains for the same model and data are not run
            again.
        batch: Maximum number of questions in a batch.
        max_new_tokens: Maximum number of tokens of an answer.
        seed: Decides which other documents are in memory as distractors, and in which order.
        tell: Callback for progress.

    Returns:
        All predictions; conditions that cannot be run on this machine are named in `skipped`.

    Raises:
        DataError: There are no questions, a document has no tokens, or earlier results cannot be read.
        ConfigError: `batch` or `max_new_tokens` is out of range.
    """
    if batch < 1:
        raise ConfigError(f"batch must be at least 1; it is {batch!r}.")
    options = GenerationOptions(max_new_tokens=max_new_tokens)
    chosen = list(conditions_for(model) if wanted is None else wanted)
    ratios = Counter(each.ratio for each in chosen if each.ratio is not None).most_common(1)
    material = Material(model, samples, seed, held=ratios[0][0] if ratios else None)
    questions = asked(material)
    if not questions:
        raise DataError("There is nothing to evaluate: no document has a question.")
    results = Results(header(model, samples, max_new_tokens=max_new_tokens, seed=seed), questions, output)
    to_run = [each for each in chosen if each.name not in results.conditions]
    results.skipped = {each.name: why for each in to_run if (why := each.missing()) is not None}
    to_run = [each for each in to_run if each.name not in results.skipped]
    for number, condition in enumerate(to_run, 1):
        begun = time.perf_counter()

        def report(done: int, condition: Condition = condition, number: int = number, begun: float = begun) -> None:
            if tell is not None:
                spent = time.perf_counter() - begun
                tell(Progress(condition.name, number, len(to_run), done, len(questions), spent))

        results.add(condition.name, _run(condition, material, options, batch, report))
    results.save()
    return results


def _run(
    condition: Condition, material: Material, options: GenerationOptions, batch: int, report: Callable[[int], None]
) -> dict[str, Any]:
    begun = time.perf_counter()
    left_out: dict[int, str] = {}
    predictions: dict[int, dict[str, Any]] = {}
    model = material.base if condition.by_base else material.model
    opening = model.text_prefix().length
    report(0)
    for tasks in _batches(_tasks(condition, material, model, options, left_out), batch):
        prefixes, grammars = [task.reading.prefix for task in tasks], [task.reading.grammar for task in tasks]
        made = model.generate(prefixes, [task.ids for task in tasks], options, grammars=grammars)
        for task, generation in zip(tasks, made, strict=True):
            predictions[task.number] = {
                "text": generation.text,
                "tokens": len(generation.ids),
                "positions": task.reading.prefix.length - opening + len(task.reading.clear),
                "windows": task.reading.windows,
                **({"rank": task.reading.rank} if condition.ranker is not None else {}),
            }
        report(len(predictions) + len(left_out))
    report(len(predictions) + len(left_out))
    return {
        "label": condition.label,
        "family": condition.family,
        "ratio": condition.ratio,
        "windows": condition.windows,
        "seconds": round(time.perf_counter() - begun, 1),
        "predictions": {str(number): predictions[number] for number in sorted(predictions)},
        "left_out": {str(number): left_out[number] for number in sorted(left_out)},
    }


def _tasks(
    condition: Condition, material: Material, model: RCCModel, options: GenerationOptions, left_out: dict[int, str]
) -> Iterator[_Task]:
    """Yield the questions of all documents, the longest documents first, and note those that cannot be asked."""
    first: dict[int, int] = {}
    at = 0
    for number, sample in enumerate(material.samples):
        if sample.questions:
            first[number] = at
        at += len(sample.questions)
    for number in sorted(first, key=lambda number: -len(material.tokens(number))):
        questions = material.samples[number].questions
        places = range(first[number], first[number] + len(questions))
        try:
            readings = condition.read(material, number)
        except (BudgetError, DataError) as error:
            left_out |= dict.fromkeys(places, str(error))
            continue
        for place, question, reading in zip(places, questions, readings, strict=True):
            ids = [*reading.clear, *model.question_ids(question.q)]
            need = reading.prefix.length + len(ids) + options.max_new_tokens
            if need > model.reach:
                left_out[place] = f"{need} positions do not fit into the {model.reach} of the decoder."
            else:
                yield _Task(place, ids, reading)


def _batches(tasks: Iterator[_Task], most: int) -> Iterator[list[_Task]]:
    held: list[_Task] = []
    for task in tasks:
        longest = max(each.reading.prefix.length for each in [*held, task])
        if held and (len(held) == most or longest * (len(held) + 1) > _BATCH_POSITIONS):
            yield held
            held = []
        held.append(task)
    if held:
        yield held
