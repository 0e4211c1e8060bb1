"""Evaluation sets: composed documents of the validation split, files, and where answers are in the text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, zip_longest
from pathlib import Path
from random import Random

from rcc_integrations.config import NOT_STATED
from rcc_integrations.errors import ConfigError, DataError, MissingExtraError
from rcc_integrations.model.windows import Window
from rcc_integrations.training.data.files import read_samples
from rcc_integrations.training.data.sample import Question, Sample

#: Answers that say that the text does not say.
DECLINES = (NOT_STATED, "unknown", "does not say")
#: Kind of the questions that a text does not answer.
UNANSWERABLE = "unanswerable"
#: Name of the composed set in tables.
COMPOSED = "composed"

PLACES = ("first third", "middle third", "last third")

#: Questions about one composed document: few, so that a set of a given size has many documents.
_QUESTIONS = 5


def composed(count: int, seed: int = 0) -> list[Sample]:
    """Compose documents of the validation split until there are `count` questions about them.

    Args:
        count: Number of questions.
        seed: Decides the documents.

    Raises:
        ConfigError: If `count` is below 1.
        MissingExtraError: If PyYAML, which reads the scenarios, is not installed.
    """
    try:
        from rcc_integrations.training.data.composer import Composer
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "eval", "Composing documents") from error

    if count < 1:
        raise ConfigError(f"The number of composed questions must be at least 1; it is {count!r}.")
    composer = Composer("validation", questions=_QUESTIONS)
    samples: list[Sample] = []
    number = 0
    while count > 0:
        made = composer.sample(Random(f"{seed}:{number}"))
        questions = tuple(_accepting(question) for question in made.questions[:count])
        samples.append(replace(made, questions=questions, task=COMPOSED, id=f"{made.id}-{number}"))
        count -= len(questions)
        number += 1
    return samples


def from_file(path: Path) -> list[Sample]:
    """Read a JSONL file as a set that bears the file's name.

    Raises:
        DataError: If it cannot be read, or asks nothing.
    """
    samples = [replace(sample, task=path.stem) for sample in read_samples(path)]
    if not any(sample.questions for sample in samples):
        raise DataError(f'{path} asks nothing: no line has "questions".')
    return samples


def limited(samples: Sequence[Sample], most: int) -> list[Sample]:
    """Keep at most so many questions of a set: the first of every document, then the second of each, and so on.

    All documents stay, as the others that stand beside one in memory.

    Args:
        samples: One set.
        most: The most questions.
    """
    numbered = [[(number, question) for question in sample.questions] for number, sample in enumerate(samples)]
    in_turn = [pair for pair in chain.from_iterable(zip_longest(*numbered)) if pair is not None]
    kept = in_turn[:most]
    return [
        replace(sample, questions=tuple(question for owner, question in kept if owner == number))
        for number, sample in enumerate(samples)
    ]


def answer_place(text: str, windows: Sequence[Window], answer: str) -> str | None:
    """Tell in which third of its window an answer stands.

    Args:
        text: The document.
        windows: Its windows, in order.
        answer: What is looked for, ignoring case.

    Returns:
        One of `PLACES`, by the answer's middle, or `None` if it does not stand in the text exactly once as whole words.
    """
    found = list(re.finditer(rf"(?<!\w){re.escape(answer)}(?!\w)", text, re.IGNORECASE))
    if len(found) != 1:
        return None
    middle = (found[0].start() + found[0].end()) / 2
    home = next((window for window in windows if window.start <= middle < window.end), None)
    return PLACES[int(3 * (middle - home.start) / (home.end - home.start))] if home else None


def _accepting(question: Question) -> Question:
    return replace(question, answers=DECLINES) if question.kind == UNANSWERABLE else question
