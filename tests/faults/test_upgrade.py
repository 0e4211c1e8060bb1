"""Stores of the format before: read as they are, upgraded when they are opened for writing, never half.

The long form: `python -m pytest --slow tests/faults/test_upgrade.py`.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
import zipfile
from pathlib import Path

import pytest

from rcc_integrations.errors import StoreFormatError
from rcc_integrations.memory.index import Index
from rcc_integrations.memory.store import MemoryStore
from tests.faults.support import start
from tests.memory.conftest import add, text_key

OLD = Path(__file__).parents[1] / "data" / "store_version_1.zip"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as version 1 wrote it."""
    with zipfile.ZipFile(OLD) as archive:
        archive.extractall(tmp_path / "store")
    return tmp_path / "store"


def version(path: Path) -> int:
    return json.loads((path / "store.json").read_text())["version"]


def set_version(path: Path, number: int) -> None:
    """Give a store the marker that a version with this format would have written."""
    marker = json.loads((path / "store.json").read_text())
    marker.pop("seal", None)
    (path / "store.json").write_text(json.dumps({**marker, "version": number}))


def unsealed(path: Path) -> int:
    connection = sqlite3.connect(path / "index" / "cache.db")
    ((number,),) = connection.execute("SELECT COUNT(*) FROM Cache WHERE tag IS NULL").fetchall()
    connection.close()
    return number


def check_content(store: MemoryStore) -> None:
    assert [record.name for record in store.collections()] == ["notes", "zoo ü"]
    ferry, foreign = store.documents("notes")
    assert (ferry.id, foreign.id, store.documents("zoo ü")[0].id) == ("a.md", "b/ünïcödé 日本.md", "a.md")
    assert store.text(ferry.text_key) == "The ferry leaves at 7:45." and ferry.metadata == {
        "title": "Ferry",
        "pages": [1, 2],
    }
    assert store.text(foreign.text_key) == "日本語のテキスト。😀" and foreign.digest == "d2"
    for record in (ferry, foreign):
        assert all(store.get_blob(window.key) for window in record.windows)
    assert store.verify(grace=0).problems == ()


def test_an_old_store_is_read_without_a_change(old: Path) -> None:
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    with MemoryStore.open(old, read_only=True) as store:
        check_content(store)
    assert all(path.read_bytes() == data for path, data in before.items())


def test_an_old_store_is_upgraded_when_it_is_opened_for_writing(old: Path) -> None:
    identity = json.loads((old / "store.json").read_text())["id"]
    assert unsealed(old) > 0 and version(old) == 1
    with MemoryStore.open(old) as store:
        check_content(store)
        assert store.id == identity
        add(store, "notes", "new.md", "written by the present version")
    assert unsealed(old) == 0 and version(old) == 3
    with MemoryStore.open(old) as store:
        assert len(store.documents("notes")) == 3 and store.verify(grace=0).problems == ()


@pytest.mark.parametrize("point", ["between rows and marker", "with half of the rows"])
def test_a_stopped_upgrade_goes_on(old: Path, point: str) -> None:
    MemoryStore.open(old).close()
    set_version(old, 1)
    if point == "with half of the rows":
        # No kill leaves this, as the rows are sealed in one transaction.
        connection = sqlite3.connect(old / "index" / "cache.db")
        with connection:
            connection.execute("UPDATE Cache SET tag = NULL WHERE rowid % 2")
        connection.close()
    for options in ({"read_only": True}, {}):
        with MemoryStore.open(old, **options) as store:
            check_content(store)
    assert unsealed(old) == 0 and version(old) == 3


def test_a_row_without_a_seal_is_refused_in_a_new_store(old: Path) -> None:
    MemoryStore.open(old).close()
    connection = sqlite3.connect(old / "index" / "cache.db")
    with connection:
        connection.execute("UPDATE Cache SET tag = NULL WHERE key LIKE 'document:%:b/%'")
    connection.close()
    with MemoryStore.open(old) as store:
        assert [one.document for one in store.verify().damaged] == ["b/ünïcödé 日本.md"]


def test_a_newer_store_is_refused_by_name(old: Path) -> None:
    set_version(old, 4)
    before = (old / "index" / "cache.db").read_bytes()
    for options in ({"read_only": True}, {}):
        with pytest.raises(StoreFormatError, match=r"version 4.*Update rcc-integrations"):
            MemoryStore.open(old, **options)
    assert (old / "index" / "cache.db").read_bytes() == before


def upgrade(path: Path, ready: Path) -> None:
    ready.touch()
    MemoryStore.open(path).close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts processes by forking")
@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_an_upgrade_killed_at_any_moment_leaves_a_whole_store(old: Path, kills: int) -> None:
    grow(old, 300)
    chance = random.Random(3)
    for number in range(kills):
        if version(old) == 3:
            downgrade(old)
        ready = old.parent / f"ready {number}"
        process = start(upgrade, old, ready)
        while not ready.exists() and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.08))
        process.kill()
        process.join()
        with MemoryStore.open(old, read_only=True) as store:
            assert len(store.documents("notes")) == 302
        # SQLite takes the transaction as a whole or not at all.
        assert unsealed(old) in (0, *([total(old)] if version(old) == 1 else []))
    with MemoryStore.open(old) as store:
        assert store.verify().ok and version(old) == 3


def grow(path: Path, documents: int) -> None:
    """Give the store many documents of one text and window, and the format of version 1 again."""
    with MemoryStore.open(path) as store:
        old, uid = store.documents("notes")[0], store.collection("notes").uid
        index = Index(path / "index")
        with index.write() as rows:
            for number in range(documents):
                record = {**old.to_json(), "id": f"more {number}", "order": 100 + number}
                rows.set(f"document:{uid}:more {number}", record)
        index.close()
        assert text_key("The ferry leaves at 7:45.") == old.text_key
        assert store.verify(repair=True).ok
    downgrade(path)


def downgrade(path: Path) -> None:
    connection = sqlite3.connect(path / "index" / "cache.db")
    with connection:
        connection.execute("UPDATE Cache SET tag = NULL")
    connection.close()
    set_version(path, 1)


def total(path: Path) -> int:
    connection = sqlite3.connect(path / "index" / "cache.db")
    ((number,),) = connection.execute("SELECT COUNT(*) FROM Cache").fetchall()
    connection.close()
    return number
