"""`Batch`: samples as token ids, with the windows that stand in each one's memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from rcc_integrations.config import NOT_STATED
from rcc_integrations.errors import DataError
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.training.data.sample import Question, Sample

#: In place of a ratio: the decoder reads the text itself, in clear.
CLEAR = 0


@dataclass(frozen=True)
class Asked:
    """A question and its answer as token ids.

    Args:
        ids: Question in its template, answer, end token.
        answer: Where the answer begins.
        kind: Kind of the question.
    """

    ids: list[int]
    answer: int
    kind: str


@dataclass(frozen=True)
class Batch:
    """What one step reads.

    Args:
        windows: Token ids of all windows.
        memory: For each text, the numbers of the windows in its memory, in order.
        own: For each text, the numbers of its own windows.
        asked: For each text, its questions.
        ratio: Compression ratio of all, or `CLEAR`.
        frozen: The numbers of the windows that are compressed without gradients: those of no text that is asked about.
    """

    windows: list[list[int]]
    memory: list[list[int]]
    own: list[list[int]]
    asked: list[list[Asked]]
    ratio: int
    frozen: frozenset[int] = frozenset()

    @property
    def tokens(self) -> int:
        """Tokens that go through the networks, memories not counted."""
        asked = sum(len(item.ids) for each in self.asked for item in each)
        return sum(map(len, self.windows)) + asked


def asked(model: RCCModel, sample: Sample, most: int) -> list[Asked]:
    """Turn a sample's questions into token ids, as many as fit into `most` tokens.

    If not even the first fits, its answer is cut, and no end is taught after it.

    Raises:
        DataError: If the first question leaves no room for an answer, or there is none.
    """
    end = model.parts.end_ids[0] if model.tokenizer.eos_token_id is None else model.tokenizer.eos_token_id
    found: list[Asked] = []
    room, too_long = most, 0
    for question in sample.questions:
        ids = model.question_ids(question.q)
        answer = model.tokenizer(question.answers[0], add_special_tokens=False, split_special_tokens=True)["input_ids"]
        whole = [*ids, *answer, end]
        if found and len(whole) > room:
            break
        if len(ids) >= most:
            too_long = len(ids)
            continue
        found.append(Asked(whole[:most], len(ids), question.kind))
        room -= len(whole)
    if not found and too_long:
        raise DataError(
            f"A question about {sample.id!r} has {too_long} tokens; questions and answers may have {most} "
            "(target_tokens). Shorten it or raise target_tokens (command line: --target-tokens)."
        )
    if not found:
        raise DataError(f"{sample.id!r} has no question to train on.")
    return found


def fit(model: RCCModel, sample: Sample, most: int, rng: Random) -> tuple[list[list[int]], Sample]:
    """Cut a sample's text into windows, at most so many at once.

    Of a longer text, a run of windows is taken that holds an answer (for a continuation: the end); questions whose
    answers are in another part of it are left out.

    Args:
        model: For windows.
        sample: A text with questions.
        most: The most windows.
        rng: Source of chance.

    Returns:
        Token ids of the windows, and the sample with the questions that can be asked of them.

    Raises:
        DataError: The text has no tokens.
    """
    windows = model.cut(sample.text)
    if not windows:
        raise DataError(f"The text of {sample.id!r} has no tokens; take it out of the data.")
    if len(windows) <= most:
        return [list(window.ids) for window in windows], sample
    lowered = sample.text.lower()
    places = [_place(question, lowered) for question in sample.questions]
    placed = [place for place in places if place is not None]
    start, end = rng.choice(placed) if placed else (0, 1)
    holding = next((number for number, window in enumerate(windows) if window.end >= end), len(windows) - 1)
    least = max(0, holding - most + 1)
    first = least if end == len(lowered) else rng.randint(least, min(holding, len(windows) - most))
    kept = windows[first : first + most]
    near = [question for question, place in zip(sample.questions, places, strict=True)
            if place is None or (kept[0].start <= place[0] and place[1] <= kept[-1].end)]  # fmt: skip
    # An answer that begins in the window before those kept is asked for all the same: better than nothing to learn.
    chosen = [question for question, place in zip(sample.questions, places, strict=True) if place == (start, end)]
    return [list(window.ids) for window in kept], replace(sample, questions=tuple(near or chosen or sample.questions))


def _place(question: Question, lowered: str) -> tuple[int, int] | None:
    """Return where a question's answer is in the text in lower case; None if it is in no one place."""
    if question.kind == "continue":
        return len(lowered) - 1, len(lowered)
    if question.answers[0] == NOT_STATED:
        return None
    found = ((lowered.find(answer.lower()), len(answer)) for answer in question.answers)
    return next(((at, at + length) for at, length in found if at >= 0), None)


@dataclass(frozen=True)
class Company:
    """What stands in memory beside a text's own windows.

    Args:
        distractors: How often windows of other texts stand there, 0 to 1.
        absent: Of the texts in company, the share whose own windows are left out; the answer is `not stated`.
        clear: How often one of a text's own windows is read as uncompressed text behind the memory.
    """

    distractors: float = 0.0
    absent: float = 0.0
    clear: float = 0.0


def make_batch(
    model: RCCModel,
    samples: Sequence[Sample],
    ratio: int,
    rng: Random,
    *,
    max_windows: int,
    max_own: int,
    company: Company,
    target_tokens: int,
    beside: Sequence[Sequence[Sample]] = (),
) -> Batch:
    """Put samples together; the texts of a batch are one another's distractors.

    Args:
        model: For windows and token ids.
        samples: At least one, each with a question.
        ratio: Compression ratio.
        rng: Source of chance.
        max_windows: The most windows in one memory.
        max_own: The most windows of one text.
        company: What stands in memory beside a text's own windows.
        target_tokens: Maximum number of question and answer tokens per text.
        beside: For each sample, further texts that serve as its distractors first, and then as those of the others.

    Raises:
        DataError: If a sample has no tokens, or no question that fits.
    """
    windows: list[list[int]] = []

    def laid(cut: list[list[int]]) -> list[int]:
        windows.extend(cut)
        return list(range(len(windows) - len(cut), len(windows)))

    fitted = [fit(model, sample, min(max_own, max_windows), rng) for sample in samples]
    own = [laid(cut) for cut, _ in fitted]
    frozen = len(windows)
    near = [[laid([list(window.ids) for window in model.cut(other.text)]) for other in others] for others in beside]
    memory, questions = [], []
    for number, (mine, (_, kept)) in enumerate(zip(own, fitted, strict=True)):
        parts, absent = [mine], False
        if rng.random() < company.distractors and len(mine) < max_windows:
            # The first few distractors do most of the harm: small numbers are drawn as often as large ones.
            room = company_size(max_windows - len(mine), rng)
            others = [each for index, each in enumerate(own) if index != number]
            others += [other for index, texts in enumerate(near) if index != number for other in texts]
            for other in [*(near[number] if near else ()), *rng.sample(others, len(others))]:
                if other and len(other) <= room:
                    parts.append(other)
                    room -= len(other)
            absent = len(parts) > 1 and rng.random() < company.absent
        if absent:
            parts = parts[1:]
            unanswered = tuple(replace(each, answers=(NOT_STATED,), kind="unanswerable") for each in kept.questions)
            kept = replace(kept, questions=unanswered[:2])
        alone = sum(map(len, parts)) == 1
        in_clear = None if absent or alone or rng.random() >= company.clear else rng.choice(mine)
        if in_clear is None:
            questions.append(asked(model, kept, target_tokens))
        else:
            parts = [[window for window in part if window != in_clear] for part in parts]
            # Few questions: each is preceded by the clear text anew.
            few = asked(model, replace(kept, questions=kept.questions[:2]), target_tokens)
            front = windows[in_clear]
            questions.append([Asked([*front, *each.ids], len(front) + each.answer, each.kind) for each in few])
        memory.append(joined(parts, rng))
    return Batch(windows, memory, own, questions, ratio, frozenset(range(frozen, len(windows))))


def company_size(most: int, rng: Random) -> int:
    """Draw a number of windows from 1 to `most`, every doubling as often as the one before it."""
    return min(most, int(math.exp(rng.uniform(0, math.log(most + 1)))))


def joined(parts: list[list[int]], rng: Random) -> list[int]:
    """Return the windows of several texts in a chance order of the texts."""
    return [window for part in rng.sample(parts, len(parts)) for window in part]
