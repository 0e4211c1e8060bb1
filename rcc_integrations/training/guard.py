"""Ending a run that has diverged, before its weights are changed or saved."""

from __future__ import annotations

import math

from rcc_integrations.errors import TrainingError
from rcc_integrations.training.log import Progress
from rcc_integrations.training.settings import TrainSettings

#: From this step on, a loss of so many times the running mean, and a running mean of so many times its lowest, end the
#: run; what is added keeps small losses from looking large.
_JUDGED = 20
_JUMP, _RISE = (4.0, 4.0), (2.0, 2.0)


def check_loss(settings: TrainSettings, progress: Progress, loss: float, norm: float) -> None:
    """Judge a step before the optimizer takes it.

    Args:
        settings: Of the run.
        progress: Before the step.
        loss: Of the step.
        norm: Of its gradient, before clipping.

    Raises:
        TrainingError: If loss or gradient are not finite, or the loss has risen far above what it was.
    """
    mean, lowest = progress.mean_loss, progress.lowest_loss
    jumped = loss > _JUMP[0] * mean + _JUMP[1] or mean > _RISE[0] * lowest + _RISE[1]
    if math.isfinite(loss) and math.isfinite(norm) and not (progress.step >= _JUDGED and jumped):
        return
    kept = settings.output / "model"
    raise TrainingError(
        f"The loss diverged at step {progress.step + 1}: {loss:.2f} (gradient {norm:.2g}) after a running mean of "
        f"{mean:.2f}, at its lowest {lowest:.2f}. "
        + (f"The model saved before is in {kept}. " if kept.exists() else "Nothing was saved yet. ")
        + f"Lower the learning rate ({settings.learning_rate:g}) or raise the warm-up ({settings.warmup:g}), and start "
        "again (command line: --fresh)."
    )
