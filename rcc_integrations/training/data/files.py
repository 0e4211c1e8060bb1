"""Samples in JSONL files, one per line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from rcc_integrations.errors import DataError
from rcc_integrations.training.data.sample import Sample


def read_samples(path: Path) -> list[Sample]:
    """Read a JSONL file of `{"text", "questions": [{"q", "answers"}]}`.

    Args:
        path: The file, UTF-8.

    Raises:
        DataError: The file cannot be read, is empty, or a line has another form; the message names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    samples = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}:{number} is not JSON: {error}.") from error
        samples.append(Sample.from_dict(data, where=f"{path.name}:{number}"))
    if not samples:
        raise DataError(f"{path} holds no samples.")
    return samples


def write_samples(path: Path, samples: Iterable[Sample]) -> int:
    """Write samples to a JSONL file; return how many.

    Args:
        path: The file; it is replaced when everything is written.
        samples: The samples.
    """
    fresh = path.with_name(path.name + ".writing")
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with fresh.open("w", encoding="utf-8") as out:
        for sample in samples:
            out.write(json.dumps(sample.to_dict(), ensure_ascii=False) + "\n")
            count += 1
    fresh.replace(path)
    return count
