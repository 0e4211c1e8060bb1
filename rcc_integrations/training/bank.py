"""`MemoryBank`: memories of many texts, computed once, for training the decoder alone."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import torch

from rcc_integrations.model.kv import Memory
from rcc_integrations.training.batch import Asked, Batch, asked, fit, joined
from rcc_integrations.training.data.sample import Sample
from rcc_integrations.training.settings import TrainSettings

if TYPE_CHECKING:
    from rcc_integrations.training.learner import Learner


@dataclass(frozen=True)
class _Text:
    """A text that is compressed already."""

    windows: list[list[int]]
    memories: list[Memory]
    asked: list[Asked]


class MemoryBank:
    """Keeps memories in bfloat16.

    Args:
        learner: Compresses; its encoder and projections stay as they are from now on.
        samples: Texts with questions, at least one a ratio.
        settings: Of the run; each text is compressed at one of its ratios, as often as their shares say.
        max_own: The most windows of one text, by ratio.
    """

    def __init__(
        self, learner: Learner, samples: list[Sample], settings: TrainSettings, max_own: dict[int, int]
    ) -> None:
        ratios = {ratio: settings.ratios[ratio] for ratio in max_own}
        self._texts: dict[int, list[_Text]] = {ratio: [] for ratio in ratios}
        order = sorted(ratios, key=lambda ratio: -ratios[ratio])
        whole, wanted = sum(ratios.values()), dict.fromkeys(order, 0.0)
        rng = Random(f"{settings.seed}:fit")
        for number, sample in enumerate(samples):
            wanted = {ratio: debt + ratios[ratio] / whole for ratio, debt in wanted.items()}
            # Every ratio gets a text, however small its share.
            ratio = order[number] if number < len(order) else max(order, key=lambda each: wanted[each])
            wanted[ratio] -= 1
            windows, kept = fit(learner.model, sample, max_own[ratio], rng)
            memories = [{name: tensor.to(torch.bfloat16) for name, tensor in memory.items()}
                        for memory in learner.compress(windows, ratio, frozen=True)]  # fmt: skip
            questions = asked(learner.model, kept, settings.target_tokens)
            self._texts[ratio].append(_Text(windows, memories, questions))
        self._ratios = ratios

    def draw(self, settings: TrainSettings, room: dict[int, int], rng: Random) -> tuple[Batch, list[Memory]]:
        """Draw texts, each with as many windows of others beside it as there is room for.

        Args:
            settings: Of the run.
            room: The most windows in one memory, by ratio.
            rng: Source of chance.

        Returns:
            A batch, and the memories of its windows.
        """
        ratio = rng.choices(list(self._ratios), list(self._ratios.values()))[0]
        texts = self._texts[ratio]
        enough = len(texts) >= settings.batch
        drawn = rng.sample(texts, settings.batch) if enough else rng.choices(texts, k=settings.batch)
        batch = Batch([], [], [], [text.asked for text in drawn], ratio)
        memories: list[Memory] = []
        numbers: dict[int, list[int]] = {}

        def laid(text: _Text) -> list[int]:
            """Return the numbers of a text's windows in the batch, where it is put if it is not there yet."""
            if id(text) not in numbers:
                numbers[id(text)] = list(range(len(memories), len(memories) + len(text.memories)))
                batch.windows.extend(text.windows)
                memories.extend({name: tensor.float() for name, tensor in memory.items()} for memory in text.memories)
            return numbers[id(text)]

        for text in drawn:
            parts, left = [laid(text)], room[ratio] - len(text.memories)
            for other in rng.sample(texts, len(texts)):
                if left <= 0:
                    break
                if other is not text and len(other.memories) <= left:
                    parts.append(laid(other))
                    left -= len(other.memories)
            batch.own.append(parts[0])
            batch.memory.append(joined(parts, rng))
        return batch, memories
