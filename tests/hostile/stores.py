"""A small store, and ways to spoil it and to use it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rcc_integrations.errors import RCCError
from rcc_integrations.memory.blobs import checksum_of
from rcc_integrations.memory.json_disk import seal_of
from rcc_integrations.memory.quantization import decode
from rcc_integrations.memory.records import WindowRecord
from rcc_integrations.memory.store import MemoryStore
from tests.memory.conftest import add, key_for, memory

Result = TypeVar("Result")


def build(path: Path) -> Path:
    """Make a store of two documents."""
    with MemoryStore.open(path) as store:
        store.create_collection("notes", fingerprint="f1", model={"base": "tiny", "ratio": 4})
        add(store, "notes", "a", "text of a", "a1", "common", kind="note")
        add(store, "notes", "b", "text of b", "b1", "common")
    return path


def run(path: Path, statement: str, *values: Any) -> None:
    """Run SQL on a store's index behind its back."""
    connection = sqlite3.connect(path / "index" / "cache.db")
    with contextlib.closing(connection), connection:
        connection.execute(statement, values)


def row_key(path: Path, kind: str) -> str:
    """Return the key of the first row of a kind, such as `document:`."""
    connection = sqlite3.connect(path / "index" / "cache.db")
    with contextlib.closing(connection):
        ((key,),) = connection.execute("SELECT key FROM Cache WHERE key LIKE ? ORDER BY key LIMIT 1", (kind + "%",))
    return str(key)


def row_value(path: Path, key: str) -> Any:
    """Return the value of a row."""
    connection = sqlite3.connect(path / "index" / "cache.db")
    with contextlib.closing(connection):
        ((value,),) = connection.execute("SELECT value FROM Cache WHERE key = ?", (key,))
    return json.loads(value)


def set_row(path: Path, key: str, value: Any) -> None:
    """Put JSON text, or a value as JSON, in the place of a row's, with a checksum that says that it is right."""
    text = value if isinstance(value, str) else json.dumps(value)
    run(path, "UPDATE Cache SET value = ?, tag = ? WHERE key = ?", text, seal_of(key, text), key)


def change_row(path: Path, kind: str, **fields: Any) -> None:
    """Change fields of the first row of a kind."""
    key = row_key(path, kind)
    set_row(path, key, {**row_value(path, key), **fields})


def blob_path(path: Path, key: str) -> Path:
    """Return where a blob lies."""
    return path / "blobs" / key[:2] / f"{key}.safetensors"


def text_path(path: Path, key: str) -> Path:
    """Return where a text lies."""
    return path / "texts" / key[:2] / f"{key}.txt"


def recount(path: Path, uid: str) -> None:
    """Let a collection's record count what its documents tell, as a forger would."""
    connection = sqlite3.connect(path / "index" / "cache.db")
    with contextlib.closing(connection):
        found = connection.execute("SELECT value FROM Cache WHERE key LIKE ?", (f"document:{uid}:%",)).fetchall()
    documents = [json.loads(value) for (value,) in found]
    counts = {
        "documents": len(documents),
        "windows": sum(len(record["windows"]) for record in documents),
        "tokens": sum(record["tokens"] for record in documents),
        "slots": sum(record["slots"] for record in documents),
    }
    set_row(path, f"collection:{uid}", {**row_value(path, f"collection:{uid}"), **counts})


def set_blob(path: Path, key: str, data: bytes) -> None:
    """Put other bytes in the place of a blob, with a row that says that they are right."""
    blob_path(path, key).write_bytes(data)
    row = row_value(path, f"blob:{key}")
    set_row(path, f"blob:{key}", {**row, "bytes": len(data), "checksum": checksum_of(data)})


def use(path: Path) -> list[RCCError]:
    """Do with a store all that can be done, and return the errors; anything but an `RCCError` goes through."""
    errors: list[RCCError] = []

    def attempt(action: Callable[..., Result], *args: Any, **options: Any) -> Result | None:
        try:
            return action(*args, **options)
        except RCCError as error:
            errors.append(error)
            return None

    for read_only in (True, False):
        store = attempt(MemoryStore.open, path, create=False, read_only=read_only)
        if store is None:
            continue
        with store:
            attempt(store.collections)
            attempt(store.collection, "notes")
            for document in attempt(store.documents, "notes") or []:
                attempt(store.text, document.text_key)
                for window in document.windows:
                    stored = attempt(store.get_blob, window.key)
                    if stored is not None:
                        attempt(decode, stored)
            attempt(store.has_blobs, [key_for("a1"), key_for("b1"), key_for("common")])
            attempt(store.stats)
            attempt(store.verify)
            if read_only:
                continue
            attempt(store.put_blobs, {key_for("a1"): memory(2), key_for("new"): memory(3)})
            windows = [WindowRecord(key_for(name), 0, 8, 16, 8) for name in ("a1", "new")]
            for id in ("a", "c"):
                attempt(store.put_document, "notes", id, "new text", windows=windows, tokens=16, digest="")
            attempt(store.update_document, "notes", "a", metadata={"kind": "changed"})
            attempt(store.delete_documents, "notes", ["b"])
            attempt(store.rename_collection, "notes", "others")
            attempt(store.verify, repair=True, grace=0)
            attempt(store.drop_collection, "others")
            attempt(store.drop_collection, "notes")
    return errors
