"""`Trainer`: runs a training to its end, saves as it goes, and goes on where it stopped."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from random import Random
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs

from rcc_integrations.errors import ConfigError, TrainingError
from rcc_integrations.training.batch import CLEAR, Batch, make_batch
from rcc_integrations.training.bank import MemoryBank
from rcc_integrations.training.data.mixture import Mixture
from rcc_integrations.training.learner import Learner
from rcc_integrations.training.log import Progress, RunLog
from rcc_integrations.training.settings import TrainSettings
from rcc_integrations.training.state import load_state, save_state

#: A loss this many times the running mean, or not a number, ends the run.
_DIVERGED = 4.0


class Trainer:
    """Trains an RCC model.

    Args:
        settings: What to train, on what, how long.
        report: Called with a line of progress now and then.

    Raises:
        ConfigError: If the settings do not fit the base model.
        DataError: If a task has no data.
    """

    def __init__(self, settings: TrainSettings, report: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self._report = report
        cuda = torch.cuda.is_available() and settings.device != "cpu"
        bf16 = settings.bf16 if settings.bf16 is not None else cuda
        self._accelerator = Accelerator(
            cpu=not cuda,
            mixed_precision="bf16" if bf16 else "no",
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        stage_shares = [settings.shares_of(stage) for stage in settings.stages]
        tasks = {task for shares in stage_shares for task, share in shares.items() if share > 0}
        self._mixture = Mixture(dict.fromkeys(tasks, 1.0), "train", settings.seed, settings.own)
        self._check = Mixture({task: 1.0 for task in tasks & {"facts", "real"}} or dict.fromkeys(tasks, 1.0),
                              "validation" if not settings.own else "train", settings.seed + 1, settings.own)  # fmt: skip
        self.learner = Learner(settings, "bfloat16" if cuda and bf16 else "float32", str(self._accelerator.device))
        if settings.injection != self.learner.model.config.injection:
            raise ConfigError(
                f"The model to go on from has {self.learner.model.config.injection} injection, not {settings.injection}."
            )
        self._weights = self.learner.trained()
        self._optimizer = torch.optim.AdamW(self._groups(), weight_decay=settings.weight_decay)
        self._network, self._stepper = self._accelerator.prepare(self.learner, self._optimizer)
        self._log = RunLog(settings.output)
        self._bank: MemoryBank | None = None

    def run(self, *, resume: bool = True) -> Progress:
        """Train until the steps or minutes are used up.

        Args:
            resume: Go on from the run's saved state if there is one.

        Returns:
            How far it came.

        Raises:
            TrainingError: If the loss diverges; the model saved last stays as it was.
        """
        settings = self.settings
        progress = load_state(settings.output, self._weights, self._optimizer) if resume else None
        progress = progress or Progress()
        self._log.begin(settings.to_dict(), progress)
        saved = time.monotonic()
        while not self._over(progress):
            part = self._part(progress)
            stage = settings.stage_at(part)
            started = time.monotonic()
            outcome = self._step(progress.step, part, stage)
            progress = progress.after(outcome, time.monotonic() - started)
            self._guard(progress)
            self._log.step(progress, stage, outcome, self._rate(part))
            if progress.step % 10 == 0:
                self._report(self._log.line(progress, part, stage))
            if time.monotonic() - saved > settings.save_minutes * 60:
                self._save(progress)
                saved = time.monotonic()
        self._save(progress)
        return progress

    def _groups(self) -> list[dict[str, Any]]:
        rates = {"projections": self.settings.projection_rate}
        return [{"params": [weight], "lr": 0.0, "peak": rates.get(name.partition(".")[0], self.settings.learning_rate)}
                for name, weight in self._weights.items()]  # fmt: skip

    def _over(self, progress: Progress) -> bool:
        return self._part(progress) >= 1.0

    def _part(self, progress: Progress) -> float:
        """Return how much of the run is done, 0 to 1."""
        parts = [0.0]
        if self.settings.steps is not None:
            parts.append(progress.step / self.settings.steps)
        if self.settings.minutes is not None:
            parts.append(progress.seconds / (60 * self.settings.minutes))
        return max(parts)

    def _rate(self, part: float) -> float:
        """Return the learning rate as a share of its peak: a rise, then a cosine down to 5 %."""
        warmup = self.settings.warmup
        if part < warmup:
            return (part + 0.002) / (warmup + 0.002)
        return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, (part - warmup) / (1 - warmup))))

    def batch(self, step: int, number: int, stage: str) -> Batch:
        """Return a batch of the run; the same step and number always give the same one."""
        settings = self.settings
        at = (step * settings.accumulate + number) * self._accelerator.num_processes + self._accelerator.process_index
        rng = Random(f"{settings.seed}:batch:{at}")
        ratio = rng.choices(list(settings.ratios), list(settings.ratios.values()))[0]
        shares = settings.shares_of(stage)
        samples = [self._mixture.sample(at * settings.batch + each, shares) for each in range(settings.batch)]
        return self._made(samples, ratio, rng)

    def _made(self, samples: list[Any], ratio: int, rng: Random) -> Batch:
        settings, model = self.settings, self.learner.model
        # What is read in clear costs as much as it is long, and has no distractors.
        room = min(settings.max_windows, (model.reach // 2) // (model.config.window // max(ratio, 1)))
        return make_batch(
            model, samples, ratio, rng,
            max_windows=max(1, room), distractors=settings.distractors if ratio != CLEAR else 0.0,
            target_tokens=settings.target_tokens,
        )  # fmt: skip

    def _step(self, step: int, part: float, stage: str) -> Any:
        rate = self._rate(part)
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * rate
        outcomes = []
        for number in range(self.settings.accumulate):
            if stage == "C":
                batch, memories = self._from_bank(step, number)
                outcome = self._network(batch, memories)
            else:
                outcome = self._network(self.batch(step, number, stage), None, self.settings.distil)
            self._accelerator.backward(outcome.loss / self.settings.accumulate)
            outcomes.append(outcome)
        self._accelerator.clip_grad_norm_(list(self._weights.values()), self.settings.clip)
        self._stepper.step()
        self._stepper.zero_grad(set_to_none=True)
        return dataclasses.replace(outcomes[-1], loss=torch.stack([item.loss.detach() for item in outcomes]).mean())

    def _from_bank(self, step: int, number: int) -> Any:
        if self._bank is None:
            self._report(f"Stage C: precomputing the memories of {self.settings.bank} texts …")
            shares = self.settings.shares_of("C")
            samples = [self._mixture.sample(10**9 + each, shares) for each in range(self.settings.bank)]
            ratios = {ratio: share for ratio, share in self.settings.ratios.items() if ratio != CLEAR}
            self._bank = MemoryBank(self.learner, samples, ratios or {1: 1.0})
        at = (step * self.settings.accumulate + number) * self._accelerator.num_processes
        rng = Random(f"{self.settings.seed}:bank:{at + self._accelerator.process_index}")
        return self._bank.draw(self.settings, rng)

    def _guard(self, progress: Progress) -> None:
        last, mean = progress.last_loss, progress.mean_loss
        if not math.isfinite(last) or (progress.step > 50 and last > _DIVERGED * mean + 4):
            raise TrainingError(
                f"The loss diverged at step {progress.step}: {last:.2f} after a mean of {mean:.2f}. The model saved "
                f"last is in {self.settings.output / 'model'}; lower the learning rate "
                f"({self.settings.learning_rate:g}) or raise the warm-up ({self.settings.warmup:g}) and start again."
            )

    def _save(self, progress: Progress) -> None:
        if not self._accelerator.is_main_process:
            return
        checked = self.check()
        self._log.check(progress, checked)
        self._report("Saved; right answers on unseen texts, foretold token by token: "
                     + ", ".join(f"ratio {ratio} {share:.0%}" for ratio, share in checked.items()))  # fmt: skip
        config = self.learner.model.config
        trained = tuple(sorted(ratio for ratio in self.settings.ratios if ratio != CLEAR))
        preferred = max(self.settings.ratios, key=lambda ratio: (ratio != CLEAR, self.settings.ratios[ratio]))
        config = dataclasses.replace(
            config, ratios=trained, max_windows=self.settings.max_windows, ratio=max(preferred, 1)
        )
        self.learner.save(self.settings.output / "model", config)
        save_state(self.settings.output, self._weights, self._optimizer, progress)
        self._log.plot()

    @torch.no_grad()
    def check(self) -> dict[int, float]:
        """Return, by ratio, the share of validation questions whose every answer token is foretold rightly."""
        found = {}
        size = self.settings.batch
        for ratio in self.settings.ratios:
            rng, right, asked = Random(self.settings.seed), 0, 0
            for first in range(0, self.settings.check_samples, size):
                samples = [self._check.sample(first + each) for each in range(size)]
                outcome = self.learner(self._made(samples, ratio, rng))
                hits = zip(outcome.right, outcome.lengths, strict=True)
                right += sum(good == length for good, length in hits)
                asked += len(outcome.lengths)
            found[ratio] = right / asked
        return found
