"""`rcc calibrate`: the weights of a model's confidence."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from rcc_integrations.cli.options import Json, Settings
from rcc_integrations.cli.output import Output

#: Least confidences that the table shows.
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def calibrate(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="Folder of an RCC model; its rcc_config.json is rewritten.", show_default=False
        ),
    ],
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help='JSONL file of {"text", "questions": [{"q", "answers", "kind"}]}, with kind "unanswerable" where '
            "the text has no answer; may be repeated. Composed documents if not given.",
            show_default=False,
        ),
    ] = None,
    documents: Annotated[
        int, typer.Option(min=4, metavar="N", help="How many documents to compose, if no file is given.")
    ] = 60,
    ratio: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Compression ratio; the model's own if not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Calibrate the confidence of a model's answers.

    Asks questions with and without an answer, fits how the model's probabilities become a confidence, and writes the
    result to its rcc_config.json. The table shows the effect of min_confidence.

    \b
    Example:
      rcc calibrate runs/mine/model --documents 100
    """  # noqa: D301
    settings = replace(Settings.of(context, None), model=str(folder), base=None)
    with Output(as_json) as out:
        from rcc_integrations.cli.eval import load
        from rcc_integrations.config import RCCConfig
        from rcc_integrations.evaluation import calibration, datasets

        config = RCCConfig.load(folder)
        samples = [sample for file in data or [] for sample in datasets.from_file(file)]
        samples = samples or calibration.questions(documents)
        with out.waiting("Loading the model …"):
            model = load(settings)
        with out.waiting(f"Asking about {len(samples)} documents …"):
            judged = calibration.answered(model, samples, ratio)
        weights = calibration.calibrate(judged)
        temporary = folder / f".rcc_config.{os.getpid()}.tmp"
        temporary.write_text(replace(config, confidence=weights).to_json(), encoding="utf-8")
        os.replace(temporary, folder / "rcc_config.json")
        rows = [calibration.declining(judged, weights, threshold) for threshold in THRESHOLDS]
        if as_json:
            found = [{**asdict(row), "precision": row.precision, "recall": row.recall} for row in rows]
            out.json({"model": str(folder), "confidence": weights, "thresholds": found})
            return
        out.table(calibration.COLUMNS, [row.cells() for row in rows])
        out.line()
        out.line(f"Written: confidence = {list(weights)} in {folder / 'rcc_config.json'}", style="dim")
