"""`Schedule`: what stage a run is in, and how fast it learns there."""

from __future__ import annotations

import math

from rcc_integrations.training.log import Progress
from rcc_integrations.training.settings import TrainSettings

#: What is left of the learning rate at the end.
_LAST = 0.05


class Schedule:
    """Follows a run from 0, its beginning, to 1, its end.

    Args:
        settings: Of the run: steps, minutes, stages and warm-up.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self._settings = settings

    def part(self, progress: Progress) -> float:
        """Return how much of the run is done, by steps or by time, whichever is further.

        Args:
            progress: How far the run is.
        """
        parts = [0.0]
        if self._settings.steps is not None:
            parts.append(progress.step / self._settings.steps)
        if self._settings.minutes is not None:
            parts.append(progress.seconds / (60 * self._settings.minutes))
        return max(parts)

    def rate(self, part: float) -> float:
        """Return the learning rate as a share of its highest: a rise, then a cosine down to 5 %.

        Args:
            part: How much of the run is done.
        """
        warmup = self._settings.warmup
        if part < warmup:
            return (part + 0.002) / (warmup + 0.002)
        return _LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * min(1.0, (part - warmup) / (1 - warmup))))

    def stage(self, part: float) -> str:
        """Return the stage.

        Args:
            part: How much of the run is done.
        """
        stages = self._settings.stages
        whole, passed = sum(stages.values()), 0.0
        for stage, share in stages.items():
            passed += share / whole
            if part < passed:
                return stage
        return list(stages)[-1]
