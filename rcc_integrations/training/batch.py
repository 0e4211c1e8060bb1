"""`Batch`: samples as token ids, with the windows that stand in each one's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.training.data.sample import Sample


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
    """

    windows: list[list[int]]
    memory: list[list[int]]
    own: list[list[int]]
    asked: list[list[Asked]]
    ratio: int

    @property
    def tokens(self) -> int:
        """Tokens that go through the networks, memories not counted."""
        asked = sum(len(item.ids) for each in self.asked for item in each)
        return sum(map(len, self.windows)) + asked


def asked(model: RCCModel, sample: Sample, most: int) -> list[Asked]:
    """Turn a sample's questions into token ids, as many as fit into `most` tokens, at least one."""
    end = model.parts.end_ids[0] if model.tokenizer.eos_token_id is None else model.tokenizer.eos_token_id
    found: list[Asked] = []
    used = 0
    for question in sample.questions:
        ids = model.question_ids(question.q)
        answer = model.tokenizer(question.answers[0], add_special_tokens=False, split_special_tokens=True)["input_ids"]
        used += len(ids) + len(answer) + 1
        if found and used > most:
            break
        found.append(Asked([*ids, *answer, end], len(ids), question.kind))
    return found


def make_batch(
    model: RCCModel,
    samples: Sequence[Sample],
    ratio: int,
    rng: Random,
    *,
    max_windows: int,
    distractors: float,
    target_tokens: int,
) -> Batch:
    """Put samples together; the texts of a batch are one another's distractors.

    Args:
        model: For windows and token ids.
        samples: At least one, each with a question.
        ratio: Compression ratio.
        rng: Source of chance.
        max_windows: The most windows in one memory.
        distractors: How often windows of other texts stand beside a text's own.
        target_tokens: The most tokens of questions and answers about one text.
    """
    windows: list[list[int]] = []
    own: list[list[int]] = []
    for sample in samples:
        cut = [window.ids for window in model.cut(sample.text)][:max_windows]
        own.append(list(range(len(windows), len(windows) + len(cut))))
        windows += cut
    memory = []
    for number, mine in enumerate(own):
        parts = [mine]
        if rng.random() < distractors:
            room = rng.randint(1, max(1, max_windows - len(mine)))
            others = [each for index, each in enumerate(own) if index != number]
            for other in rng.sample(others, len(others)):
                if 0 < len(other) <= room:
                    parts.append(other)
                    room -= len(other)
        memory.append(joined(parts, rng))
    return Batch(windows, memory, own, [asked(model, sample, target_tokens) for sample in samples], ratio)


def joined(parts: list[list[int]], rng: Random) -> list[int]:
    """Return the windows of several texts in a chance order of the texts."""
    return [window for part in rng.sample(parts, len(parts)) for window in part]
