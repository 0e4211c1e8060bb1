"""`Feed`: the batches of a run, the same for the same seed, step and process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import torch

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.kv import Memory
from rcc_integrations.training.bank import MemoryBank
from rcc_integrations.training.batch import CLEAR, Batch, Company, company_size, make_batch
from rcc_integrations.training.data.mixture import Mixture, shares_of
from rcc_integrations.training.data.own import OwnData
from rcc_integrations.training.data.sample import Sample
from rcc_integrations.training.learner import Learner
from rcc_integrations.training.settings import TrainSettings

#: Tasks that show how well memory is read; validation looks at these if the run has them.
_TELLING = ("facts", "own", "real")

#: Where the texts of stage C's bank begin in the stream of samples.
_BANK = 10**9


class Feed:
    """Makes batches for training and validation.

    Args:
        settings: Of the run.
        learner: For windows, token ids, and the memories of stage C.
        processes: How many processes train side by side; each gets batches of its own.
        process: The number of this one.
        report: Callback for lines about data that is left out and about work that takes a while.

    Raises:
        ConfigError: If a window, a question and its answer do not fit into the base's positions.
        DataError: The data of a task is missing or empty.
    """

    def __init__(
        self,
        settings: TrainSettings,
        learner: Learner,
        processes: int = 1,
        process: int = 0,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._settings, self._learner, self._report = settings, learner, report
        self._processes, self._process = processes, process
        self._check_room()
        own = OwnData.read(settings.own)
        self.data_digest = own.digest()
        self._shares = {stage: settings.shares or shares_of(stage, own) for stage in settings.stages}
        tasks = sorted({task for shares in self._shares.values() for task in shares})
        self._mixture = Mixture(dict.fromkeys(tasks, 1.0), "train", settings.seed, own)
        telling = [task for task in tasks if task in _TELLING] or tasks
        self._unseen = Mixture(dict.fromkeys(telling, 1.0), "validation", settings.seed + 1, own)
        for note in (*self._mixture.notes, *self._unseen.notes):
            report(note)
        self._bank: MemoryBank | None = None

    def batch(self, step: int, number: int, stage: str) -> tuple[Batch, list[Memory] | None]:
        """Return a batch of the run, and the memories of its windows where the encoder is frozen.

        Args:
            step: Steps done before.
            number: Which of the batches of a step.
            stage: `A`, `B` or `C`.
        """
        settings = self._settings
        at = (step * settings.accumulate + number) * self._processes + self._process
        rng = Random(f"{settings.seed}:{stage}:{at}")
        if stage == "C":
            return self._from_bank(rng)
        ratio = rng.choices(list(settings.ratios), list(settings.ratios.values()))[0]
        samples = [self._mixture.sample(at * settings.batch + each, self._shares[stage])
                   for each in range(settings.batch)]  # fmt: skip
        return self._made(self._mixture, samples, ratio, rng), None

    def unseen(self, ratio: int) -> list[Batch]:
        """Return the batches of validation samples at a ratio; the same each time.

        Args:
            ratio: Compression ratio, or `CLEAR`.
        """
        wanted, size = self._settings.check_samples, self._settings.batch
        samples = [self._unseen.sample(number) for number in range(wanted)]
        rng = Random(self._settings.seed)
        return [self._made(self._unseen, samples[first : first + size], ratio, rng) for first in range(0, wanted, size)]

    def room(self, ratio: int) -> int:
        """Return the most windows that a memory may have: those of the settings, in half of the base's positions."""
        model = self._learner.model
        slots = model.slots(model.config.window, max(ratio, 1))
        return max(1, min(self._settings.max_windows, model.reach // 2 // slots))

    def _made(self, mixture: Mixture, samples: Sequence[Sample], ratio: int, rng: Random) -> Batch:
        settings = self._settings
        room = self.room(ratio)
        # What is read in clear has no distractors: that would only cost time.
        company = Company(settings.distractors, settings.absent, settings.clear) if ratio != CLEAR else Company()
        beside = self._beside(mixture, samples, room, rng) if ratio != CLEAR and rng.random() < settings.hard else []
        return make_batch(
            self._learner.model, samples, ratio, rng,
            max_windows=room, max_own=self._most_own(ratio), company=company, target_tokens=settings.target_tokens,
            beside=beside,
        )  # fmt: skip

    def _beside(self, mixture: Mixture, samples: Sequence[Sample], room: int, rng: Random) -> list[list[Sample]]:
        """Draw hard distractors, at least one a sample, until they have about as many windows as were drawn."""
        beside: list[list[Sample]] = [[] for _ in samples]
        wanted, windows = company_size(room, rng), 0
        while windows < wanted:
            for sample, others in zip(samples, beside, strict=True):
                others.append(mixture.beside(sample, rng))
                windows += len(self._learner.model.cut(others[-1].text))
        return beside

    def _most_own(self, ratio: int) -> int:
        """Return the most windows of one text; the teacher of a distillation has to read them uncompressed."""
        return min(self.room(ratio), self.room(CLEAR)) if self._settings.distil else self.room(ratio)

    def _from_bank(self, rng: Random) -> tuple[Batch, list[Memory]]:
        settings = self._settings
        ratios = [ratio for ratio in settings.ratios if ratio != CLEAR]
        if self._bank is None:
            self._report(f"Stage C: compressing {settings.bank} texts beforehand …")
            start = _BANK + self._process * settings.bank
            samples = [self._mixture.sample(start + each, self._shares["C"]) for each in range(settings.bank)]
            most = {ratio: self._most_own(ratio) for ratio in ratios}
            self._bank = MemoryBank(self._learner, samples, settings, most)
        return self._bank.draw(settings, {ratio: self.room(ratio) for ratio in ratios}, rng)

    def _check_room(self) -> None:
        model, settings = self._learner.model, self._settings
        with torch.no_grad():
            front = model.read_text_prefix().length
        needed = front + max(model.config.window, model.reach // 2) + settings.target_tokens
        if needed > model.reach:
            raise ConfigError(
                f"A window of {model.config.window} tokens, {front} in front of it and {settings.target_tokens} of "
                f"questions and answers (target_tokens) do not fit into the {model.reach} positions of "
                f"{model.config.base!r}: shorten the window or lower target_tokens."
            )
        if "C" in settings.stages and settings.bank < 2 * len(settings.ratios):
            raise ConfigError(f"bank must be at least {2 * len(settings.ratios)}, two texts a ratio: {settings.bank}.")
