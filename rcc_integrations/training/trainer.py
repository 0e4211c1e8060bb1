"""`Trainer`: runs a training, saves its state, and resumes it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from rcc_integrations.errors import ConfigError, TrainingError
from rcc_integrations.training.batch import CLEAR, Batch
from rcc_integrations.training.feed import Feed
from rcc_integrations.training.guard import check_loss
from rcc_integrations.training.learner import Learner, Outcome
from rcc_integrations.training.log import Progress, RunLog
from rcc_integrations.training.schedule import Schedule
from rcc_integrations.training.settings import TrainSettings
from rcc_integrations.training.state import check_output, drop_state, load_state, save_state

#: Seconds between lines of progress.
_LINE_SECONDS = 15.0


class Trainer:
    """Trains an RCC model.

    Started with `accelerate launch`, several processes train together, each on its own batches; the first one saves,
    logs and reports.

    Args:
        settings: The settings of the run.
        report: Callback for lines of progress.

    Raises:
        ConfigError: The settings do not fit the base model, the model to continue from, or this machine.
        ModelNotFoundError: The base or saved model cannot be found.
        DataError: A task has no data.
    """

    def __init__(self, settings: TrainSettings, report: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        check_output(settings.output)
        if settings.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device 'cuda' was asked for, but torch sees no CUDA device on this machine.")
        cuda = torch.cuda.is_available() and settings.device != "cpu"
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)
        self._accelerator = Accelerator(cpu=not cuda, kwargs_handlers=[unused])
        self._main = bool(self._accelerator.is_main_process)
        self._report = report if self._main else lambda _: None
        bf16 = settings.bf16 if settings.bf16 is not None else cuda
        self.learner = Learner(settings, str(self._accelerator.device), bf16=bf16)
        processes = int(self._accelerator.num_processes)
        self._feed = Feed(settings, self.learner, processes, int(self._accelerator.process_index), self._report)
        self._identity = {**settings.to_dict(), "data": self._feed.data_digest, "processes": processes}
        self._weights = self.learner.trained()
        self._optimizer = torch.optim.AdamW(self._groups(), weight_decay=settings.weight_decay)
        self._network, self._stepper = self._accelerator.prepare(self.learner, self._optimizer)
        self._schedule = Schedule(settings)
        self._log = RunLog(settings.output)

    def run(self, *, resume: bool = True) -> Progress:
        """Train until the steps or minutes are over.

        Args:
            resume: Continue from the run's saved state if there is one; otherwise the folder is cleared.

        Returns:
            The progress of the run.

        Raises:
            ConfigError: The saved run has other settings; the message names them.
            TrainingError: The loss diverges, or the saved state cannot be read; the last saved model is kept.
        """
        progress = self._begin(resume)
        mark = spoken = time.monotonic()
        saved = progress.seconds
        done = self._schedule.part(progress) >= 1
        while (part := self._schedule.part(progress)) < 1:
            stage = self._schedule.stage(part)
            outcome = self._step(progress, part, stage)
            now = time.monotonic()
            (seconds,) = self._means(now - mark)
            mark, progress = now, progress.after(outcome, seconds)
            if self._main:
                self._log.step(progress, stage, outcome, self._schedule.rate(part))
            if progress.step == 1 or now - spoken >= _LINE_SECONDS:
                self._report(self._log.line(progress, self._schedule.part(progress), stage))
                spoken = now
            if progress.seconds - saved >= 60 * self.settings.save_minutes and self._schedule.part(progress) < 1:
                self._save(progress)
                saved = progress.seconds
        if done:
            self._report(f"This run is finished: {progress.step} steps. Its model is in {self.settings.output}.")
        else:
            self._save(progress)
        return progress

    def unseen(self, ratio: int) -> list[Batch]:
        """Return the batches of validation samples at a ratio; the same each time."""
        return self._feed.unseen(ratio)

    def check(self) -> dict[int, float]:
        """Return, by ratio, the share of validation questions whose answer tokens are all predicted correctly."""
        found = {}
        with torch.no_grad():
            for ratio in self.settings.ratios:
                outcomes = [self.learner(batch) for batch in self.unseen(ratio)]
                hits = [good == length for outcome in outcomes
                        for good, length in zip(outcome.right, outcome.lengths, strict=True)]  # fmt: skip
                found[ratio] = sum(hits) / len(hits)
        return found

    def _begin(self, resume: bool) -> Progress:
        settings = self.settings
        progress = None
        if resume:
            progress = load_state(settings.output, self._weights, self._optimizer, self._identity)
        elif self._main:
            drop_state(settings.output)
        if self._main:
            self._log.begin(self._identity, progress or Progress())
        self._accelerator.wait_for_everyone()
        if progress is not None:
            self._report(f"Going on from step {progress.step}.")
        return progress or Progress()

    def _groups(self) -> list[dict[str, Any]]:
        rates = {"projections": self.settings.projection_rate}
        return [{"params": [weight], "lr": 0.0, "peak": rates.get(name.partition(".")[0], self.settings.learning_rate)}
                for name, weight in self._weights.items()]  # fmt: skip

    def _step(self, progress: Progress, part: float, stage: str) -> Outcome:
        settings, outcomes = self.settings, []
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * self._schedule.rate(part)
        for number in range(settings.accumulate):
            last = number == settings.accumulate - 1
            batch, memories = self._feed.batch(progress.step, number, stage)
            # Processes exchange gradients once a step.
            with contextlib.nullcontext() if last else self._accelerator.no_sync(self._network):
                outcome = self._network(batch, memories, settings.distil)
                self._accelerator.backward(outcome.loss / settings.accumulate)
            outcomes.append(outcome)
        norm = float(self._accelerator.clip_grad_norm_(list(self._weights.values()), settings.clip))
        loss = sum(float(outcome.loss.detach()) for outcome in outcomes) / len(outcomes)
        loss, norm, tokens = self._means(loss, norm, sum(outcome.tokens for outcome in outcomes))
        check_loss(settings, progress, loss, norm)
        self._stepper.step()
        self._stepper.zero_grad(set_to_none=True)
        return Outcome(
            torch.tensor(loss, dtype=torch.float64),
            round(tokens * self._accelerator.num_processes),
            [count for outcome in outcomes for count in outcome.right],
            [length for outcome in outcomes for length in outcome.lengths],
            [kind for outcome in outcomes for kind in outcome.kinds],
        )

    def _means(self, *values: float) -> list[float]:
        """Return the means of values over all processes, so that all decide alike."""
        if self._accelerator.num_processes == 1:
            return list(values)
        held = torch.tensor(values, dtype=torch.float32, device=self._accelerator.device)
        found: list[float] = self._accelerator.reduce(held, "mean").tolist()
        return found

    def _save(self, progress: Progress) -> None:
        if self._main:
            broken = [name for name, weight in self._weights.items() if not bool(weight.isfinite().all())]
            if broken:
                raise TrainingError(f"{broken[0]} is not finite at step {progress.step}; nothing was saved.")
            checked = self.check()
            self._log.check(progress, checked)
            ratios = {ratio: share for ratio, share in self.settings.ratios.items() if ratio != CLEAR}
            self.learner.save(
                self.settings.output / "model",
                ratio=max(ratios, key=lambda ratio: ratios[ratio]),
                ratios=tuple(sorted(ratios)),
                max_windows=self.settings.max_windows,
            )
            save_state(self.settings.output, self._weights, self._optimizer, progress, self._identity)
            self._report("Saved. Answer tokens predicted correctly on validation questions: "
                         + ", ".join(f"{'uncompressed' if ratio == CLEAR else f'ratio {ratio}'} {share:.0%}"
                                     for ratio, share in checked.items()))  # fmt: skip
            if not self._log.plot():
                self._report("curves.png was not drawn: pip install 'rcc-integrations[train]' brings matplotlib.")
        self._accelerator.wait_for_everyone()
