"""`Mixture`: an endless, seeded stream of samples from several tasks with given shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from rcc_integrations.errors import ConfigError, DataError
from rcc_integrations.training.data import sources
from rcc_integrations.training.data.composer import Composer
from rcc_integrations.training.data.own import OwnData
from rcc_integrations.training.data.realtext import RealText
from rcc_integrations.training.data.sample import Sample
from rcc_integrations.training.data.values import Split
from rcc_integrations.training.tasks import STAGE_SHARES, TASKS

#: How often another text is drawn before it is accepted that there is none.
_TRIES = 8


class Mixture:
    """Draws samples; the same seed and number always give the same sample.

    Samples from a file are used for the task that they were exported under, if it is one of `facts`, `real`, `repeat`
    and `continue`; your own texts replace the encyclopedia and Python's documentation.

    Args:
        shares: Share of each task; 0 for tasks that are left out.
        split: Split of scenarios, values and real text.
        seed: The seed of everything.
        own: Your own data: JSONL files of samples and folders of documents, or the result of `OwnData.read`.

    Raises:
        ConfigError: A task is unknown, or no share is above zero.
        DataError: The data of a task is missing or empty.
    """

    def __init__(
        self,
        shares: Mapping[str, float],
        split: Split = "train",
        seed: int = 0,
        own: OwnData | Sequence[Path] = (),
    ) -> None:
        if unknown := sorted(set(shares) - set(TASKS)):
            raise ConfigError(f"There is no task {unknown[0]!r}; there are {', '.join(TASKS)}.")
        self.shares = {task: float(share) for task, share in shares.items() if share > 0}
        if not self.shares or any(share < 0 for share in shares.values()):
            raise ConfigError(f"The shares of tasks must be positive numbers, at least one of them: {dict(shares)}.")
        self._seed = seed
        self._own = (own if isinstance(own, OwnData) else OwnData.read(own)).part(split)
        self.notes = self._own.notes
        self._composer = Composer(split)
        self._related = _related(self._own.samples.get("own", []))
        self._makers = self._prepare(split)

    def sample(self, number: int, shares: Mapping[str, float] | None = None) -> Sample:
        """Return a sample of the stream.

        Args:
            number: Its number in the stream.
            shares: Other shares for this sample, among tasks of the mixture.

        Raises:
            ConfigError: `shares` names a task that the mixture does not have.
        """
        rng = Random(f"{self._seed}:{number}")
        wanted = self.shares if shares is None else {task: share for task, share in shares.items() if share > 0}
        if not wanted or (missing := sorted(set(wanted) - set(self._makers))):
            raise ConfigError(f"The mixture has {', '.join(self._makers)}, not {', '.join(missing) or 'an empty one'}.")
        tasks = sorted(wanted)
        return self._makers[rng.choices(tasks, [wanted[task] for task in tasks])[0]](rng)

    def beside(self, sample: Sample, rng: Random) -> Sample:
        """Return a text that is easily taken for a sample's: a hard distractor that answers none of its questions.

        For a composed document this is one of the same kind with other people and facts; for a sample of one's own,
        another of the same group (samples whose ids agree up to the last `/`), or any other; else another text of the
        same task.

        Args:
            sample: As `sample` returned it.
            rng: Source of chance.
        """
        if sample.task == "facts" and sample.facts:
            return self._composer.beside(sample, rng)
        group = [each for each in self._related.get(_group(sample), ()) if each.text != sample.text]
        if group:
            return rng.choice(group)
        task = sample.task if sample.task in self._makers else rng.choice(sorted(self._makers))
        others = (self._makers[task](rng) for _ in range(_TRIES))
        return next((other for other in others if other.text != sample.text), sample)

    def _prepare(self, split: Split) -> dict[str, Callable[[Random], Sample]]:
        makers = {task: _drawer(samples) for task, samples in self._own.samples.items() if task in self.shares}
        if "own" in self.shares and "own" not in makers:
            raise DataError(
                "The share of own samples is above zero, but no file with questions was given (JSONL of "
                '{"text", "questions": [{"q", "answers"}]}).'
            )
        if "facts" in self.shares and "facts" not in makers:
            makers["facts"] = self._composer.sample
        if missing := {"real", "repeat", "continue"} & set(self.shares) - set(makers):
            text = RealText(self._own.passages or sources.encyclopedia(split) + sources.documentation(split))
            made = {"real": text.questions, "repeat": text.repeat, "continue": text.continuation}
            makers |= {task: made[task] for task in missing}
        return makers


def shares_of(stage: str, own: OwnData) -> dict[str, float]:
    """Return the usual shares of tasks in a stage, of those that the data serve.

    Without data of one's own these are composed facts and real text. With them, only what they can serve: questions of
    one's own, and tasks over one's own texts.

    Args:
        stage: `A`, `B` or `C`.
        own: Data of one's own; may be empty.

    Raises:
        DataError: If the data serve no task of the stage.
    """
    served = own.tasks or set(TASKS) - {"own"}
    if "real" in served and own.passages and "real" not in own.samples and not RealText(own.passages).askable:
        served = served - {"real"}
    shares = {task: share for task, share in STAGE_SHARES[stage].items() if task in served}
    if not shares:
        raise DataError(
            f"Stage {stage} needs one of the tasks {', '.join(STAGE_SHARES[stage])}; these data serve "
            f"{', '.join(sorted(served))}. Give longer texts or questions, or leave the stage out."
        )
    return shares


def run_shares(stages: Mapping[str, float], shares: Mapping[str, float] | None, own: OwnData) -> dict[str, float]:
    """Return the shares of tasks over a whole run.

    Args:
        stages: Stages with their shares of the run.
        shares: Shares for all stages, if given.
        own: Data of one's own; may be empty.

    Raises:
        DataError: If the data serve no task of a stage.
    """
    found: dict[str, float] = {}
    for stage, weight in stages.items():
        given = shares or shares_of(stage, own)
        for task, share in given.items():
            found[task] = found.get(task, 0.0) + share * weight / sum(given.values()) / sum(stages.values())
    return found


def _group(sample: Sample) -> str:
    return sample.id.rpartition("/")[0] or sample.id


def _related(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(_group(sample), []).append(sample)
    return groups


def _drawer(samples: list[Sample]) -> Callable[[Random], Sample]:
    def draw(rng: Random) -> Sample:
        sample = rng.choice(samples)
        # Only so many questions fit into a batch: another order asks others.
        return replace(sample, questions=tuple(rng.sample(sample.questions, len(sample.questions))))

    return draw
