"""`rcc ls`, `rcc rm` and `rcc mv`: collections and their documents."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rcc_integrations.cli.options import Collection, Json, Settings, Store
from rcc_integrations.cli.output import Output, counted
from rcc_integrations.errors import ConfigError


def ls(context: typer.Context, store: Store = None, as_json: Json = False) -> None:
    """List the collections of the store.

    \b
    Examples:
      rcc ls
      rcc --store /data/memory ls --json
    """  # noqa: D301
    settings = Settings.of(context, store)
    with Output(as_json) as out, settings.open_store() as opened:
        records = opened.collections()
        if as_json:
            out.json({"store": str(opened.path), "collections": [record.to_json() for record in records]})
            return
        if not records:
            hint = "rcc add COLLECTION PATH makes one."
            if opened.holds_files():
                # The index was put back to an earlier state, or its log is gone.
                hint = "But it holds texts or memories: its index lost what was added. rcc verify says more."
            out.line(f"The store {opened.path} has no collections{'.' if opened.holds_files() else ' yet:'} {hint}")
            return
        columns = ("collection", "documents", "windows", "tokens", "slots", "ratio", "model", "storage", "revision")
        out.table(
            columns,
            [
                (
                    record.name,
                    record.documents,
                    record.windows,
                    record.tokens,
                    record.slots,
                    record.model.get("ratio", "?"),
                    record.model.get("base", "?"),
                    record.storage,
                    record.revision,
                )
                for record in records
            ],
        )


def rm(
    context: typer.Context,
    collection: Collection,
    documents: Annotated[
        list[str] | None,
        typer.Argument(metavar="DOCUMENT", help="Remove only these documents.", show_default=False),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask for confirmation before a whole collection is removed.")
    ] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Remove documents or a whole collection.

    \b
    Examples:
      rcc rm handbook old/rules.md notes.txt
      rcc rm handbook --yes
    """  # noqa: D301
    settings = Settings.of(context, store)
    with Output(as_json) as out, settings.open_store(write=True) as opened:
        if documents:
            removed = opened.delete_documents(collection, list(dict.fromkeys(documents)))
            record = opened.collection(collection)
            if as_json:
                out.json({"removed": [one.id for one in removed], "collection": record.to_json(), "dropped": False})
            for one in removed:
                out.line(f"removed  {one.id}")
            out.line(f"{collection} has {counted(record.documents, 'document')} left.")
            return
        record = opened.collection(collection)
        if not yes:
            _confirm(record.name, record.documents)
        record = opened.drop_collection(collection)
        if as_json:
            out.json({"removed": [], "collection": record.to_json(), "dropped": True})
        out.line(f"Removed collection {record.name} with {counted(record.documents, 'document')}.")


def mv(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="Name of the collection.", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.", show_default=False)],
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Rename a collection.

    \b
    Example:
      rcc mv handbook handbook-2024
    """  # noqa: D301
    settings = Settings.of(context, store)
    with Output(as_json) as out, settings.open_store(write=True) as opened:
        record = opened.rename_collection(old, new)
        if as_json:
            out.json({"old": old, "collection": record.to_json()})
        out.line(f"Renamed {old} to {record.name}.")


def _confirm(name: str, documents: int) -> None:
    """Ask before a collection is removed.

    Raises:
        ConfigError: There is nobody to ask, or the answer is no.
    """
    what = f"collection {name!r} with {counted(documents, 'document')}"
    if not sys.stdin.isatty():
        raise ConfigError(f"This would remove {what}, and nobody can be asked: give --yes if that is meant.")
    try:
        sure = typer.confirm(f"Remove {what}?", err=True)
    except typer.Abort:
        sure = False
    if not sure:
        raise ConfigError(f"Nothing was removed: {what} stays.")
