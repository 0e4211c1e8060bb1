"""`OwnData`: the texts and questions that a user brings, from JSONL files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import xxhash

from rcc_integrations.errors import DataError
from rcc_integrations.training.data.files import read_samples
from rcc_integrations.training.data.sample import Sample
from rcc_integrations.training.data.sources import Passage, folder, pieces
from rcc_integrations.training.data.values import Split, split_of

#: Samples of an exported mixture keep these tasks; what else a file calls its samples is a task of one's own.
_KEPT_TASKS = ("facts", "real", "repeat", "continue")


@dataclass(frozen=True)
class OwnData:
    """Texts and questions of a user.

    Args:
        samples: Samples with questions, by task: those of an exported mixture under the tasks they were made for, all
            others under `own`.
        passages: All texts in passages of some length, for tasks that need no questions.
        notes: What was left out, and why.
    """

    samples: dict[str, list[Sample]]
    passages: list[Passage]
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, paths: Sequence[Path]) -> OwnData:
        """Read JSONL files of samples and folders of documents.

        Args:
            paths: Files, read with `read_samples`, and folders, searched at any depth.

        Raises:
            DataError: If a path does not exist, cannot be read, or holds nothing to train on.
        """
        samples: dict[str, list[Sample]] = {}
        passages: list[Passage] = []
        notes: list[str] = []
        for path in paths:
            if path.is_dir():
                found, left_out = folder(path)
                passages += found
                notes += left_out
                continue
            if not path.exists():
                raise DataError(f"There is no {str(path)!r} to train on.")
            for sample in read_samples(path):
                if sample.questions:
                    task = sample.task if sample.task in _KEPT_TASKS else "own"
                    samples.setdefault(task, []).append(sample)
                found = [Passage(sample.id, piece, sample.text) for piece in pieces(sample.text)]
                passages += found
                if not (found or sample.questions):
                    notes.append(f"{sample.id}: left out; it has no question, and is too short for other tasks.")
        return cls(samples, passages, tuple(notes))

    @property
    def tasks(self) -> set[str]:
        """Tasks that these data can serve."""
        return {*self.samples, *(("real", "repeat", "continue") if self.passages else ())}

    def part(self, split: Split) -> OwnData:
        """Return the part for a split: an eighth of the texts, chosen by their hash, is held back for validation.

        A kind of data of which there is too little to hold some back is in both parts.

        Args:
            split: `train` or `validation`.
        """
        everything: dict[str, list[Any]] = {**self.samples, "texts": self.passages}
        parts = {name: [each for each in found if split_of(_key(each)) == split] for name, found in everything.items()}
        shared = [name for name, found in everything.items() if len({split_of(_key(each)) for each in found}) == 1]
        parts |= {name: everything[name] for name in shared}
        notes = self.notes
        if split == "validation":
            notes = tuple(f"There is too little to hold some back for validation: {name} are checked on what they are "
                          "trained on." for name in shared)  # fmt: skip
        passages = parts.pop("texts")
        return replace(self, samples=parts, passages=passages, notes=notes)

    def digest(self) -> str:
        """Return a hash over everything, by which a changed file is noticed when a run goes on."""
        found = xxhash.xxh64()
        for task, samples in sorted(self.samples.items()):
            found.update(f"{task}:{[sample.to_dict() for sample in samples]}".encode())
        found.update(repr(self.passages).encode())
        return found.hexdigest()


def _key(item: Sample | Passage) -> str:
    """Return what decides the split of an item: its text, or the text that it is a piece of."""
    return item.text if isinstance(item, Sample) else item.key or item.text
