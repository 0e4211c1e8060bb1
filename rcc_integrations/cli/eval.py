"""`rcc eval`: how well a model answers from memory, compared with controls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rcc_integrations.cli.options import Json, Settings
from rcc_integrations.cli.output import Output, counted
from rcc_integrations.errors import ConfigError

if TYPE_CHECKING:
    from rcc_integrations.evaluation.results import Results
    from rcc_integrations.evaluation.runner import Progress
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.training.data.sample import Sample

_COMPOSED = 200
_AGAIN = "Interrupted. What was done so far is kept; run the same command again to continue."


def evaluate(
    context: typer.Context,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help='JSONL file of {"text", "questions": [{"q", "answers"}]}; may be repeated.',
            show_default=False,
        ),
    ] = None,
    composed: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            help=f"Number of questions on composed documents; {_COMPOSED} if no file is given.",
            show_default=False,
        ),
    ] = None,
    ratio: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Compression ratio of memory; may be repeated. The model's default if not given.",
            show_default=False,
        ),
    ] = None,
    conditions: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="memory, grounded, expand, int8, windows, collection, full, base, none, cut, bm25, vector, "
            "bm25-short, vector-short or shuffled; may be repeated. All if not given.",
            show_default=False,
        ),
    ] = None,
    collection: Annotated[
        bool,
        typer.Option(
            "--collection",
            help="All documents of a set in one collection: which windows are found, and what is answered. "
            "The same as --conditions collection.",
        ),
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Maximum number of questions from each set.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the results.")] = Path("evaluation"),
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Markdown page for the tables and the chart; evaluation.md in the output folder if not given.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PATH_OR_HUB", help="Same as --model before the command.", show_default=False),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="Maximum number of questions in a batch.")] = 16,
    seed: Annotated[
        int, typer.Option(metavar="S", help="Seed of composed documents and of distractors in memory.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Evaluate answers from memory against controls.

    Every prediction is kept in the output folder. Conditions that are there already, for the same model and questions,
    are not run again.

    \b
    Examples:
      rcc eval
      rcc eval --data questions.jsonl --limit 20
      rcc eval --data questions.jsonl --collection
      rcc --model trained/ eval --ratio 2 --ratio 4 --conditions memory --conditions full --composed 100
    """  # noqa: D301
    settings = Settings.of(context, None)
    settings = replace(settings, model=model) if model is not None else settings
    with Output(as_json, _AGAIN) as out:
        from rcc_integrations.evaluation import conditions_for, write_report
        from rcc_integrations.evaluation import evaluate as run
        from rcc_integrations.evaluation.report import check_page, notes

        samples = _samples(data or [], composed, limit, seed)
        page = report or output / "evaluation.md"
        check_page(page)
        with out.waiting("Loading the model …"):
            loaded = load(settings)
        families = [*(conditions or ()), *(["collection"] if collection else [])]
        wanted = conditions_for(loaded, ratio or (), families)
        with _told() as tell:
            results = run(loaded, samples, wanted, output=output, batch=batch, seed=seed, tell=tell)
        for note in notes(results):
            typer.echo(note, err=True)
        written = write_report(results, page)
        if not any(path.suffix == ".png" for path in written):
            typer.echo("No chart: matplotlib is not installed (pip install 'rcc-integrations[eval]').", err=True)
        assert results.path is not None
        _show(out, results, [results.path, *written])


def _samples(files: list[Path], composed: int | None, limit: int | None, seed: int) -> list[Sample]:
    from rcc_integrations.evaluation import datasets

    if len({file.stem for file in files}) < len(files):
        raise ConfigError("Two data files have the same name, which is what tables call a set: rename one.")
    count = (0 if files else _COMPOSED) if composed is None else composed
    found = [datasets.from_file(file) for file in files]
    if count:
        found.append(datasets.composed(count, seed))
    return [sample for samples in found for sample in (datasets.limited(samples, limit) if limit else samples)]


def load(settings: Settings) -> RCCModel:
    """Load the model that the options before a command name.

    Raises:
        ConfigError: If they contradict each other.
    """
    from rcc_integrations.model.rcc_model import RCCModel

    if settings.base is not None and settings.model is not None:
        raise ConfigError("Give --model or --base, not both: a base is used without an adapter.")
    options: dict[str, Any] = {"device": settings.device, "dtype": settings.dtype}
    given = {name: value for name, value in options.items() if value is not None}
    if settings.base is not None:
        return RCCModel.from_base(settings.base, **given)
    return RCCModel.default(**given) if settings.model is None else RCCModel.from_pretrained(settings.model, **given)


@contextmanager
def _told() -> Iterator[Callable[[Progress], None]]:
    """Show progress on standard error: a bar on a terminal, else a line for every condition that is done."""
    if not sys.stderr.isatty():

        def line(now: Progress) -> None:
            if now.done == now.questions:
                typer.echo(
                    f"{now.number}/{now.conditions} {now.condition}: {counted(now.done, 'question')}, "
                    f"{now.seconds:.0f} s",
                    err=True,
                )

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=None)

        def draw(now: Progress) -> None:
            title = f"{now.number}/{now.conditions} {now.condition}"
            bar.update(task, completed=now.done, total=now.questions, description=title)

        yield draw


def _show(out: Output, results: Results, written: list[Path]) -> None:
    from rcc_integrations.evaluation import tables

    rows = {of: tables.overall(results, of) for of in tables.sets(results)}
    if out.as_json:
        scores = {of: [dict(zip(tables.OVERALL, row, strict=True)) for row in each] for of, each in rows.items()}
        out.json({"files": [str(path) for path in written], "scores": scores, "skipped": results.skipped})
        return
    for of, each in rows.items():
        out.line()
        out.line(of, style="bold")
        out.table(tables.OVERALL, each)
    out.line()
    out.line("Written: " + ", ".join(map(str, written)), style="dim")
