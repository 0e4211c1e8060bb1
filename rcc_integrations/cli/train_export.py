"""`rcc train --export`: the training data as a file, for machines without the packages that it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from rcc_integrations.cli.clean import one_line
from rcc_integrations.cli.output import Output, counted
from rcc_integrations.training.settings import TrainSettings


def export_samples(given: dict[str, Any], path: Path, count: int, out: Output) -> None:
    """Write samples of the mixture that a run with these settings draws from.

    Args:
        given: Fields of `TrainSettings`; neither an output nor an end is needed.
        path: The JSONL file.
        count: How many samples.
        out: Where to say so.

    Raises:
        ConfigError: If a setting cannot be used.
        DataError: The data of a task is missing or empty.
    """
    from rcc_integrations.training import Mixture, write_samples
    from rcc_integrations.training.data.mixture import run_shares
    from rcc_integrations.training.data.own import OwnData

    settings = TrainSettings(**{"output": path.parent, "steps": 1, **given})
    own = OwnData.read(settings.own)
    mixture = Mixture(run_shares(settings.stages, settings.shares, own), "train", settings.seed, own)
    for note in mixture.notes:
        typer.echo(one_line(note), err=True)
    with out.waiting(f"Writing {count:,} samples …"):
        written = write_samples(path, (mixture.sample(number) for number in range(count)))
    if out.as_json:
        out.json({"file": str(path), "samples": written, "shares": mixture.shares, "seed": settings.seed})
    out.line(f"{counted(written, 'sample')} in {path}. To train on them: rcc train --data {path} --output FOLDER …")
