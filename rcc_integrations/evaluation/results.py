"""`Results`: every prediction of an evaluation, in one JSON file from which later runs continue."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rcc_integrations._version import __version__
from rcc_integrations.errors import DataError
from rcc_integrations.evaluation.datasets import answer_place
from rcc_integrations.evaluation.material import Material
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.training.data.sample import Sample

#: Rises when results of older code stop being comparable.
FORMAT = 1


class Results:
    """The questions and predictions of an evaluation.

    Args:
        header: Model, data and settings; runs with the same header share a file.
        questions: For every question its set, document, text, accepted answers, kind, and place of the answer.
        folder: Folder for the file; `None` to keep the results in memory only.

    Raises:
        DataError: The file of an earlier run cannot be read.
    """

    def __init__(self, header: dict[str, Any], questions: Sequence[dict[str, Any]], folder: Path | None = None) -> None:
        self.header = header
        self.questions = list(questions)
        self.conditions: dict[str, dict[str, Any]] = {}
        self.skipped: dict[str, str] = {}
        self.path = folder / f"results-{self.key}.json" if folder is not None else None
        if self.path is not None and self.path.exists():
            self.conditions = Results.load(self.path).conditions

    @property
    def key(self) -> str:
        """Hash over header and questions, 12 hex digits."""
        text = json.dumps([self.header, self.questions], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file of results, for example to make its tables again.

        Raises:
            DataError: The file cannot be read.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            found = cls(data["header"], data["questions"])
            found.conditions, found.skipped = dict(data["conditions"]), dict(data["skipped"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} holds no results that can be read ({error!r}). Delete it.") from error
        found.path = path
        return found

    def add(self, name: str, record: dict[str, Any]) -> None:
        """Add the predictions of a condition, and save them if there is a folder.

        Args:
            name: Name of the condition.
            record: Its label, predictions and what it left out, as JSON values.
        """
        self.conditions[name] = record
        self.save()

    def save(self) -> None:
        """Write the file, if there is a folder; the one before is replaced as a whole."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_name(self.path.name + ".writing")
        fresh.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        fresh.replace(self.path)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        names = ("header", "questions", "conditions", "skipped")
        return {name: getattr(self, name) for name in names}


def header(model: RCCModel, samples: Sequence[Sample], **settings: Any) -> dict[str, Any]:
    """Return what decides an evaluation's outcome, beside its conditions.

    Args:
        model: The model.
        samples: All documents: those without questions too stand beside others in memory.
        **settings: Settings of the run.
    """
    texts = "\0".join(f"{sample.task}\0{sample.text}" for sample in samples)
    return {
        "format": FORMAT,
        "version": __version__,
        "model": json.loads(json.dumps(dataclasses.asdict(model.config))),
        "weights": model.weights_id(),
        **({"routing": [[head.id, head.mixture.tolist()] for head in heads]} if (heads := model.parts.routing) else {}),
        "dtype": str(model.decoder.dtype).removeprefix("torch."),
        "documents": len(samples),
        "texts": hashlib.blake2b(texts.encode(), digest_size=16).hexdigest(),
        **settings,
    }


def asked(material: Material) -> list[dict[str, Any]]:
    """Return every question as `Results` keeps it.

    Raises:
        DataError: If a document has no tokens.
    """
    return [
        {
            "set": sample.task,
            "document": number,
            "id": sample.id,
            "question": question.q,
            "answers": list(question.answers),
            "kind": question.kind,
            "place": answer_place(sample.text, material.windows(number), question.answers[0]),
            "windows": len(material.windows(number)),
        }
        for number, sample in enumerate(material.samples)
        for question in sample.questions
    ]
