"""`rcc add`: files into a collection."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rcc_integrations.cli.options import Collection, Json, Settings, Store
from rcc_integrations.cli.output import Output, counted
from rcc_integrations.errors import EmptyDocumentError, UnreadableFileError

if TYPE_CHECKING:
    from rcc_integrations.document import Document
    from rcc_integrations.files import Skipped, SourceFile
    from rcc_integrations.memory.records import DocumentRecord
    from rcc_integrations.reader.ingest import AddReport

_LISTED = 20


class Storage(StrEnum):
    """How memories are stored."""

    int8 = "int8"
    bfloat16 = "bfloat16"
    float32 = "float32"


@dataclass
class _Inputs:
    """What was found among the paths.

    Args:
        files: Files that look readable.
        skipped: What was found and is not read.
        failed: Pairs of id and reason of files that turned out to be unreadable.
    """

    files: list[SourceFile]
    skipped: list[Skipped]
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def reasons(self) -> list[dict[str, str]]:
        """Everything that was left out and calls for attention."""
        named = [(item.path, item.reason) for item in self.skipped if not item.routine]
        return [{"path": path, "reason": reason} for path, reason in [*named, *self.failed]]

    @property
    def routine(self) -> int:
        """How many things were left out by rule."""
        return sum(item.routine for item in self.skipped)

    def take(self) -> list[Document | SourceFile]:
        """Return what to add, beginning with a document that was read; empty if nothing can be read."""
        for number, file in enumerate(self.files):
            try:
                return [file.read(), *self.files[number + 1 :]]
            except (EmptyDocumentError, UnreadableFileError) as error:
                self.failed.append((file.id, str(error)))
        return []

    def gone(self, records: list[DocumentRecord]) -> list[str]:
        """Return the ids of documents whose files are not there any more; one that is only unreadable is there."""
        from rcc_integrations.files.names import printable

        found = {file.id for file in self.files}
        unread = [item.path.rstrip("/") for item in self.skipped if not item.routine]
        gone = []
        for record in records:
            source = printable(str(record.metadata.get("source", "")))
            there = any(source == path or source.startswith(f"{path}/") for path in unread)
            if record.id not in found and not there:
                gone.append(record.id)
        return gone


def add(
    context: typer.Context,
    collection: Collection,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH", help="Files, folders, quoted globs, or - for standard input.", show_default=False
        ),
    ],
    ratio: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Source tokens per slot, for a new collection.", show_default=False),
    ] = None,
    storage: Annotated[
        Storage | None,
        typer.Option(
            help="Number format of memories on disk, for a new collection; int8 if not given.", show_default=False
        ),
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Allow a ratio that the model was not trained for.")
    ] = False,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Leave out these files or folders; may be repeated.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Document id of standard input; stdin if not given.", show_default=False),
    ] = None,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Read what links in a folder lead to outside of it, too.")
    ] = False,
    ttl: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="The collection expires after this time, such as 12h or 7d; unchanged if not given.",
            show_default=False,
        ),
    ] = None,
    renew: Annotated[
        bool, typer.Option("--renew", help="With --ttl: every question to the collection restarts that time.")
    ] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Remove documents whose files are gone.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Add files to a collection.

    Only new and changed files are compressed. An interrupted run continues where it stopped.

    \b
    Examples:
      rcc add handbook docs/ notes.pdf --exclude '*.log'
      rcc add handbook docs/ --prune
      rcc add talk notes/ --ttl 7d
      curl -s https://example.org/page | rcc add web - --name page.html
    """  # noqa: D301
    settings = Settings.of(context, store)
    if name is not None and "-" not in paths:
        raise typer.BadParameter("it names standard input; give - as a path as well", param_hint="'--name'")
    if renew and ttl is None:
        raise typer.BadParameter("it renews a time to live; give --ttl as well", param_hint="'--renew'")
    halted = "Interrupted. What was done so far is kept; run the same command again to continue."
    with Output(as_json, halted) as out:
        from rcc_integrations.files import find_files
        from rcc_integrations.memory.expiry import parse_ttl

        lives = None if ttl is None else parse_ttl(ttl)
        inputs = _Inputs(
            *find_files(paths, exclude=exclude or (), follow_links=follow_links, stdin_name=name or "stdin")
        )
        sources = inputs.take()
        if not sources:
            _nothing(out, inputs)
        with settings.open_reader(create=True, write=True) as reader:
            report = reader.add(
                collection,
                sources,
                ratio=ratio,
                storage=storage.value if storage else None,
                untrained=untrained,
                ttl=lives,
                renew=renew,
                skip_unreadable=True,
                show_progress=sys.stderr.isatty(),
            )
            inputs.failed += report.skipped
            if not (report.added or report.replaced or report.unchanged or report.restored):
                _nothing(out, inputs)
            # The collection that was added to: its name may be another's by now.
            record = report.collection
            assert record is not None
            gone = inputs.gone(reader.store.documents(record))
            if prune and gone:
                reader.store.delete_documents(record, gone)
            record = reader.store.snapshot(record).collection
        if as_json:
            out.json(_summary(report, inputs, gone, prune) | {"collection": record.to_json()})
        else:
            _show(out, collection, report, inputs, gone, prune)


def _nothing(out: Output, inputs: _Inputs) -> None:
    """Say that nothing can be read, and end the command."""
    for item in inputs.reasons if not out.as_json else ():
        out.line(f"skipped  {item['path']}: {item['reason']}")
    extra = f" ({counted(inputs.routine, 'file or folder')} left out by rule)" if inputs.routine else ""
    message = f"None of the paths contains a readable file, so nothing was added{extra}."
    out.error(UnreadableFileError.__name__, message, skipped=inputs.reasons, skipped_by_rule=inputs.routine)
    raise typer.Exit(1)


def _summary(report: AddReport, inputs: _Inputs, gone: list[str], prune: bool) -> dict[str, Any]:
    return report.to_dict() | {
        "skipped": inputs.reasons,
        "skipped_by_rule": inputs.routine,
        "tokens_per_second": _speed(report),
        "pruned": gone if prune else [],
        "not_among_files": [] if prune else gone,
    }


def _speed(report: AddReport) -> float:
    return report.tokens_compressed / report.seconds if report.seconds > 0 else 0.0


def _show(out: Output, collection: str, report: AddReport, inputs: _Inputs, gone: list[str], prune: bool) -> None:
    for verb, ids in (("added", report.added), ("replaced", report.replaced), ("restored", report.restored)):
        for id in ids[:_LISTED]:
            out.line(f"{verb:9}{id}")
        if len(ids) > _LISTED:
            out.line(f"{verb:9}… and {len(ids) - _LISTED:,} more")
    for item in inputs.reasons:
        out.line(f"skipped  {item['path']}: {item['reason']}", style="yellow")
    for id in gone if prune else ():
        out.line(f"removed  {id}")
    restored = f", {len(report.restored):,} restored" if report.restored else ""
    by_rule = f", {inputs.routine:,} left out by rule" if inputs.routine else ""
    out.line(
        f"{collection}: {len(report.added):,} added, {len(report.replaced):,} replaced, {len(report.unchanged):,} "
        f"unchanged{restored}, {len(inputs.reasons):,} skipped{by_rule}",
        style="bold",
    )
    out.line(
        f"{counted(report.windows_compressed, 'window')} compressed, {report.windows_reused:,} reused; "
        f"{counted(report.tokens_compressed, 'token')} in {report.seconds:.1f} s ({_speed(report):,.0f} tokens/s)"
    )
    if gone and not prune:
        verb = "is" if len(gone) == 1 else "are"
        out.line(f"{counted(len(gone), 'document')} of {collection} {verb} not among these files; --prune would remove "
                 f"{'it' if len(gone) == 1 else 'them'}.")  # fmt: skip
