"""`MemoryBank`: memories of many texts, computed once, for training the decoder alone."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import torch

from rcc_integrations.model.kv import Memory
from rcc_integrations.training.batch import Batch, asked, joined
from rcc_integrations.training.data.sample import Sample
from rcc_integrations.training.settings import TrainSettings

if TYPE_CHECKING:
    from rcc_integrations.training.learner import Learner


class MemoryBank:
    """Keeps memories in bfloat16.

    Args:
        learner: Compresses; its encoder and projections stay as they are from now on.
        samples: Texts with questions.
        ratios: How often each ratio is taken; each text is compressed at one of them.
    """

    def __init__(self, learner: Learner, samples: list[Sample], ratios: dict[int, float]) -> None:
        self._model = learner.model
        self._texts: dict[int, list[tuple[Sample, list[Memory]]]] = {ratio: [] for ratio in ratios}
        order = sorted(ratios, key=lambda ratio: -ratios[ratio])
        whole, wanted = sum(ratios.values()), {ratio: 0.0 for ratio in order}
        with torch.no_grad():
            for sample in samples:
                wanted = {ratio: debt + ratios[ratio] / whole for ratio, debt in wanted.items()}
                ratio = max(order, key=lambda each: wanted[each])
                wanted[ratio] -= 1
                windows = [window.ids for window in learner.model.cut(sample.text)]
                memories = [{name: tensor.to(torch.bfloat16) for name, tensor in memory.items()}
                            for memory in learner.compress(windows, ratio)]  # fmt: skip
                self._texts[ratio].append((sample, memories))
        self._ratios = {ratio: ratios[ratio] for ratio, texts in self._texts.items() if texts}

    def draw(self, settings: TrainSettings, rng: Random) -> tuple[Batch, list[Memory]]:
        """Draw texts, each with up to `max_windows` windows in its memory.

        Args:
            settings: Of the run.
            rng: Source of chance.

        Returns:
            A batch, and the memories of its windows.
        """
        ratio = rng.choices(list(self._ratios), list(self._ratios.values()))[0]
        texts = self._texts[ratio]
        positions = self._model.reach // 2
        batch_memory, batch_own, batch_asked = [], [], []
        memories: list[Memory] = []
        for sample, own in rng.sample(texts, min(settings.batch, len(texts))):
            groups, numbers = [own], 0
            room = min(settings.max_windows, positions * ratio // self._model.config.window) - len(own)
            for _, other in rng.sample(texts, min(len(texts), 2 * settings.max_windows)):
                if other is not own and len(other) <= room:
                    groups.append(other)
                    room -= len(other)
            numbered = []
            for group in groups:
                numbered.append(list(range(len(memories), len(memories) + len(group))))
                memories += [{name: tensor.float() for name, tensor in memory.items()} for memory in group]
            batch_own.append(numbered[numbers])
            batch_memory.append(joined(numbered, rng))
            batch_asked.append(asked(self._model, sample, settings.target_tokens))
        windows: list[list[int]] = [[] for _ in memories]
        return Batch(windows, batch_memory, batch_own, batch_asked, ratio), memories
