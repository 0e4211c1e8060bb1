"""`Mixture`: an endless, seeded stream of samples from several tasks with given shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from rcc_integrations.errors import ConfigError, DataError
from rcc_integrations.training.data import sources
from rcc_integrations.training.data.composer import Composer
from rcc_integrations.training.data.files import read_samples
from rcc_integrations.training.data.realtext import RealText
from rcc_integrations.training.data.sample import Sample
from rcc_integrations.training.data.values import Split

#: Tasks of the mixture: composed facts; questions about, repetition and continuation of real text; data of one's own.
TASKS = ("facts", "real", "repeat", "continue", "own")


class Mixture:
    """Draws samples; the same seed and number always give the same sample.

    Args:
        shares: Share of each task; those left out have none.
        split: Which split of scenarios, values and real text.
        seed: Decides everything.
        own: JSONL files of samples, or folders of documents.

    Raises:
        ConfigError: If a task is not known or no share is above zero.
        DataError: If a task's data are missing or empty.
    """

    def __init__(
        self, shares: Mapping[str, float], split: Split = "train", seed: int = 0, own: tuple[Path, ...] = ()
    ) -> None:
        if unknown := sorted(set(shares) - set(TASKS)):
            raise ConfigError(f"Unknown task {unknown[0]!r}; there are {', '.join(TASKS)}.")
        self.shares = {task: float(share) for task, share in shares.items() if share > 0}
        if not self.shares or any(share < 0 for share in shares.values()):
            raise ConfigError(f"The shares of tasks must be positive numbers, at least one of them: {dict(shares)}.")
        self._seed = seed
        self._makers = self._prepare(split, own)

    def sample(self, number: int, shares: Mapping[str, float] | None = None) -> Sample:
        """Return a sample of the stream.

        Args:
            number: Its place in the stream.
            shares: Other shares for this sample, of tasks that the mixture has.
        """
        rng = Random(f"{self._seed}:{number}")
        weights = {task: (shares or self.shares).get(task, 0.0) for task in self._makers}
        task = rng.choices(list(weights), list(weights.values()))[0]
        return self._makers[task](rng)

    def _prepare(self, split: Split, own: tuple[Path, ...]) -> dict[str, Callable[[Random], Sample]]:
        makers: dict[str, Callable[[Random], Sample]] = {}
        samples = [sample for path in own if path.is_file() for sample in read_samples(path)]
        folders = [passage for path in own if path.is_dir() for passage in sources.folder(path)]
        if missing := [path for path in own if not path.exists()]:
            raise DataError(f"There is no {str(missing[0])!r} to train on.")
        if "facts" in self.shares:
            makers["facts"] = Composer(split).sample
        if {"real", "repeat", "continue"} & set(self.shares):
            passages = folders or sources.encyclopedia(split) + sources.documentation(split)
            text = RealText(passages)
            made = {"real": text.questions, "repeat": text.repeat, "continue": text.continuation}
            makers |= {task: made[task] for task in made if task in self.shares}
        if "own" in self.shares:
            asked = [sample for sample in samples if sample.questions]
            if not asked:
                raise DataError(
                    "The share of own samples is above zero, but no file with questions was given (JSONL of "
                    '{"text", "questions": [{"q", "answers"}]}).'
                )
            makers["own"] = lambda rng: rng.choice(asked)
        return {task: makers[task] for task in sorted(makers)}
