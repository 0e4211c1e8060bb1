"""`rcc calibrate`: what a model needs beside its weights, the weights of confidence and the routing heads."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from rcc_integrations.cli.options import Json, Settings
from rcc_integrations.cli.output import Output
from rcc_integrations.errors import ConfigError

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.training.data.sample import Sample

#: Least confidences that the table shows.
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def calibrate(
    context: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Folder of an RCC model, changed; with --base the folder to make.",
            show_default=False,
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
    only: Annotated[
        Literal["confidence", "routing"] | None,
        typer.Option(help="Find only the weights of confidence, or only the routing heads.", show_default=False),
    ] = None,
    documents: Annotated[
        int, typer.Option(min=4, metavar="N", help="How many documents to compose for the confidence.")
    ] = 60,
    routing_documents: Annotated[
        int, typer.Option(min=0, metavar="N", help="How many documents to compose for routing, beside --data.")
    ] = 400,
    routing_steps: Annotated[int, typer.Option(min=1, metavar="N", help="Training steps of a routing head.")] = 900,
    ratio: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Compression ratio of the confidence; the model's own if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Decides the documents and the order of training.")] = 0,
    as_json: Json = False,
) -> None:
    """Find how windows are found by memory, and what tells that the documents do not answer a question.

    Routing heads are trained on composed documents and on --data, and written beside the model's weights. For the
    confidence, questions with and without an answer are asked; its weights are written into rcc_config.json, and the
    table shows what min_confidence would decline. With a base model (rcc --base), an RCC model at ratio 1 is made.

    \b
    Examples:
      rcc calibrate runs/mine/model
      rcc calibrate runs/mine/model --only routing --data questions.jsonl --routing-steps 1500
      rcc --base Qwen/Qwen3-0.6B calibrate models/qwen3
    """  # noqa: D301
    settings = Settings.of(context, None)
    with Output(as_json) as out:
        from rcc_integrations.cli.eval import load
        from rcc_integrations.evaluation import datasets

        if settings.base is None:
            settings = replace(settings, model=str(folder))
        elif folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is not empty: with --base, name a folder to make.")
        given = [sample for file in data or [] for sample in datasets.from_file(file)]
        with out.waiting("Loading the model …"):
            model = load(settings)
        if settings.base is not None:
            model.save_pretrained(folder)
        written: dict[str, Any] = {"model": str(folder)}
        if only != "confidence":
            written["routing"] = _routing(model, folder, given, routing_documents, routing_steps, seed, out)
        if only != "routing":
            written |= _confidence(model, folder, given, documents, ratio, out)
        if as_json:
            out.json(written)


def _routing(
    model: RCCModel, folder: Path, given: list[Sample], documents: int, steps: int, seed: int, out: Output
) -> list[dict[str, Any]]:
    from rcc_integrations.model.routing_head import FILE, save_heads
    from rcc_integrations.training.data.mixture import Mixture
    from rcc_integrations.training.routing import fit_routing
    from rcc_integrations.training.routing_trainer import RoutingSettings

    mixture = Mixture({"facts": 1.0}, seed=seed)
    samples = [*given, *(mixture.sample(number) for number in range(documents))]
    fitted = fit_routing(
        model, samples, settings=RoutingSettings(steps=steps, seed=seed), report=lambda line: typer.echo(line, err=True)
    )
    save_heads(folder, [each.head for each in fitted])
    rows = []
    for each in fitted:
        ratios = ", ".join(map(str, each.ratios))
        shown = [f"{share:.2f}" for share in (*each.recall, *each.by_words)]
        rows.append((ratios, str(len(each.head.levels)), str(each.questions), *shown))
    out.table(("ratios", "levels", "questions", "recall @1", "@3", "@8", "by words @1", "@3", "@8"), rows)
    out.line(f"Written: {len(fitted)} routing heads in {folder / FILE}", style="dim")
    return [{"ratios": each.ratios, "levels": each.head.levels, "questions": each.questions,
             "mixture": each.head.mixture.tolist(), "recall": each.recall, "by_words": each.by_words}
            for each in fitted]  # fmt: skip


def _confidence(
    model: RCCModel, folder: Path, given: list[Sample], documents: int, ratio: int | None, out: Output
) -> dict[str, Any]:
    from rcc_integrations.config import RCCConfig
    from rcc_integrations.evaluation import calibration

    samples = given or calibration.questions(documents)
    with out.waiting(f"Asking about {len(samples)} documents …"):
        judged = calibration.answered(model, samples, ratio)
    weights = calibration.calibrate(judged)
    temporary = folder / f".rcc_config.{os.getpid()}.tmp"
    temporary.write_text(replace(RCCConfig.load(folder), confidence=weights).to_json(), encoding="utf-8")
    os.replace(temporary, folder / "rcc_config.json")
    rows = [calibration.declining(judged, weights, threshold) for threshold in THRESHOLDS]
    out.table(calibration.COLUMNS, [row.cells() for row in rows])
    out.line()
    out.line(f"Written: confidence = {list(weights)} in {folder / 'rcc_config.json'}", style="dim")
    thresholds = [{**asdict(row), "precision": row.precision, "recall": row.recall} for row in rows]
    return {"confidence": weights, "thresholds": thresholds}
