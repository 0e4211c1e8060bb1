"""`rcc show`: the contents of a collection or a document."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rcc_integrations.cli.clean import one_line
from rcc_integrations.cli.options import Collection, Json, Settings, Store
from rcc_integrations.cli.output import Output

if TYPE_CHECKING:
    from rcc_integrations.memory.records import DocumentRecord
    from rcc_integrations.memory.store import MemoryStore

_SHOWN_CHARACTERS = 80


def show(
    context: typer.Context,
    collection: Collection,
    document: Annotated[
        str | None, typer.Argument(metavar="DOCUMENT", help="Show this document's windows.", show_default=False)
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the document's stored text.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show a collection or a document.

    A collection is listed with its documents, a document with its windows and their character offsets. Control
    characters in the text are replaced; with --json, the text is exact.

    \b
    Examples:
      rcc show handbook
      rcc show handbook ferry.md
      rcc show handbook ferry.md --text
    """  # noqa: D301
    settings = Settings.of(context, store)
    if text and document is None:
        raise typer.BadParameter("it needs a document", param_hint="'--text'")
    with Output(as_json) as out, settings.open_store() as opened:
        if document is None:
            _show_collection(out, opened, collection)
            return
        record = opened.document(collection, document)
        if as_json:
            more = {"text": opened.text(record.text_key)} if text else {}
            out.json({"collection": collection, "document": _plain(record), **more})
        elif text:
            stored = opened.text(record.text_key)
            out.piece(stored if stored.endswith("\n") else stored + "\n")
        else:
            _show_document(out, record, opened.text(record.text_key))


def _show_collection(out: Output, store: MemoryStore, name: str) -> None:
    snapshot = store.snapshot(name)
    if out.as_json:
        documents = [_plain(record) for record in snapshot.documents]
        out.json({"collection": snapshot.collection.to_json(), "documents": documents})
        return
    if not snapshot.documents:
        out.line(f"Collection {snapshot.collection.name} has no documents.")
        return
    rows = [
        (one.id, len(one.windows), one.characters, one.tokens, one.slots, _time(one.added))
        for one in snapshot.documents
    ]
    out.table(("document", "windows", "characters", "tokens", "slots", "added"), rows)


def _show_document(out: Output, record: DocumentRecord, text: str) -> None:
    out.line(one_line(record.id), style="bold")
    facts = {
        "characters": record.characters,
        "tokens": record.tokens,
        "slots": record.slots,
        "added": _time(record.added),
        "digest": record.digest,
        **record.metadata,
    }
    for name, value in facts.items():
        out.line(f"{one_line(name)}: {one_line(value)}")
    out.line()
    rows = [
        (
            number,
            f"{window.start}-{window.end}",
            window.tokens,
            window.slots,
            window.key[:12],
            one_line(text[window.start : window.end], _SHOWN_CHARACTERS),
        )
        for number, window in enumerate(record.windows)
    ]
    out.table(("window", "characters", "tokens", "slots", "memory", "text"), rows)


def _plain(record: DocumentRecord) -> dict[str, Any]:
    windows = [
        {"key": one.key, "start": one.start, "end": one.end, "tokens": one.tokens, "slots": one.slots}
        for one in record.windows
    ]
    return {**record.to_json(), "windows": windows}


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds).isoformat(" ", "seconds")
    except (ValueError, OverflowError, OSError):
        # A store may come from anywhere; a date beyond the calendar must not end the command.
        return "?"
