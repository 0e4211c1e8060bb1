"""Stores whose index or marker cannot be used: what is left of them is saved, and what is missing is named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations.errors import ConfigError, RCCError, StoreError, StoreFormatError
from rcc_integrations.memory.report import Problem, VerifyReport
from rcc_integrations.memory.sqlite_pages import Pages
from rcc_integrations.memory.store import MemoryStore
from tests.faults.damage_points import DOCUMENTS, build, build_open, fill, read

ALL = {(collection, document) for collection, document, _, _ in DOCUMENTS}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("recovery") / "store")


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "store")


def repaired(path: Path) -> tuple[list[Problem], VerifyReport, set[tuple[str, str]]]:
    """Do what `rcc verify --repair` does; return what was told and which documents are there, whole."""
    problems = list(MemoryStore.recover(path))
    with MemoryStore.open(path) as store:
        report = store.verify(repair=True, grace=0)
        there = set(read(store))
        assert store.verify(grace=0).problems == ()
    return [*problems, *report.problems], report, there


def contents(path: Path) -> dict[Path, bytes]:
    """Return all files but those that SQLite makes beside a database that is opened for reading."""
    files = [file for file in path.rglob("*") if file.is_file() and not file.name.startswith("cache.db-")]
    return {file: file.read_bytes() for file in files}


def kept(path: Path) -> set[bytes]:
    return {file.read_bytes() for file in (path / "lost+found").rglob("*") if file.is_file()}


# The database


def test_every_row_is_found_on_the_pages(path: Path) -> None:
    connection = sqlite3.connect(path / "index" / "cache.db")
    rows = dict(connection.execute("SELECT key, value FROM Cache"))
    connection.close()
    # The long document's row overflows to pages of its own.
    assert max(map(len, rows.values())) > 4096
    found = list(Pages(path / "index" / "cache.db").rows())
    assert {key: text for key, text, sure in found if sure} == rows


def test_every_row_of_a_log_is_found(tmp_path: Path) -> None:
    path = build_open(tmp_path / "store")
    pages = Pages(path / "index" / "cache.db")
    found = {key for key, _, sure in pages.rows() if sure}
    assert pages.frames.forgotten == 0 and sum(key.startswith("document:") for key in found) == len(DOCUMENTS)


@pytest.mark.parametrize("backup", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9])
def test_a_truncated_database_loses_nothing_without_a_name(path: Path, share: float, backup: bool) -> None:
    if not backup:
        shutil.rmtree(path / "backup")
    database = path / "index" / "cache.db"
    data = database.read_bytes()
    database.write_bytes(data[: int(len(data) * share)])
    texts = {file.read_bytes() for file in (path / "texts").rglob("*.txt")}
    with pytest.raises(StoreError), MemoryStore.open(path) as store:
        assert store.verify().ok
    try:
        problems, report, there = repaired(path)
    except StoreFormatError as error:
        # Nothing can be saved: then nothing is touched.
        assert share <= 0.3 and not backup and "Nothing was changed" in str(error)
        assert {file.read_bytes() for file in (path / "texts").rglob("*.txt")} == texts
        return
    if backup:
        assert there == ALL and report.ok
    named = {(item.collection, item.document) for item in report.damaged}
    told = {problem.kind for problem in problems}
    assert ALL - there <= named or told & {"document-lost", "index-behind", "file-without-row"}
    assert texts <= kept(path) | {file.read_bytes() for file in (path / "texts").rglob("*.txt")}
    assert data[: int(len(data) * share)] in kept(path)
    with MemoryStore.open(path) as store:
        fill(store)
        assert set(read(store)) == ALL and store.verify(grace=0).problems == ()


@pytest.mark.parametrize("backup", [True, False])
def test_an_older_index_put_back_loses_nothing_newer(path: Path, backup: bool) -> None:
    older = path.with_name("older")
    shutil.copytree(path / "index", older)
    with MemoryStore.open(path) as store:
        from tests.memory.conftest import add

        add(store, "notes", "new.md", "newer than the copy", "n1", digest="d")
    shutil.rmtree(path / "index")
    shutil.copytree(older, path / "index")
    if not backup:
        shutil.rmtree(path / "backup")
    with MemoryStore.open(path) as store:
        problems = store.verify().problems
        assert "new.md" in str(problems) if backup else {item.kind for item in problems} == {"file-without-row"}
        report = store.verify(repair=True, grace=0)
        names = {record.id for record in store.documents("notes")}
        assert ("new.md" in names) == backup and store.verify(grace=0).problems == ()
    assert backup or b"newer than the copy" in kept(path)
    assert report.ok


@pytest.mark.parametrize("backup", [True, False])
def test_a_lost_log_does_not_pass_for_an_empty_store(tmp_path: Path, backup: bool) -> None:
    path = build_open(tmp_path / "store")
    if backup:
        with MemoryStore.open(shutil.copytree(path, tmp_path / "whole")):
            pass
        with MemoryStore.open(tmp_path / "whole") as store:
            store.update_document("notes", "a.md", digest="another")
        shutil.rmtree(path / "backup", ignore_errors=True)
        shutil.copytree(tmp_path / "whole" / "backup", path / "backup")
    for name in ("cache.db-wal", "cache.db-shm"):
        (path / "index" / name).unlink(missing_ok=True)
    if not backup:
        shutil.rmtree(path / "backup", ignore_errors=True)
    with MemoryStore.open(path) as store:
        assert not store.verify().ok and store.holds_files()
        texts = {file.read_bytes() for file in (path / "texts").rglob("*.txt")}
        report = store.verify(repair=True, grace=0)
        assert (set(read(store)) == ALL) == backup
    if not backup:
        assert texts <= kept(path) and "file-without-row" in {problem.kind for problem in report.problems}


def test_a_damaged_log_is_read_behind_the_damage(tmp_path: Path) -> None:
    path = build_open(tmp_path / "store")
    log = path / "index" / "cache.db-wal"
    data = bytearray(log.read_bytes())
    # The first frame behind those of making the collections: SQLite forgets all that follows.
    data[32 + 24 + 40] ^= 1
    log.write_bytes(data)
    problems, report, there = repaired(path)
    assert "log" in {problem.kind for problem in problems} and bytes(data) in kept(path)
    assert there == ALL and report.ok


def test_an_index_that_is_gone_comes_from_its_backup(path: Path) -> None:
    shutil.rmtree(path / "index")
    with pytest.raises(StoreFormatError, match="rcc verify --repair"):
        MemoryStore.open(path)
    _, report, there = repaired(path)
    assert there == ALL and report.ok


def test_a_dry_run_recovers_nothing(path: Path) -> None:
    database = path / "index" / "cache.db"
    database.write_bytes(database.read_bytes()[:9000])
    (path / "store.json").write_text("{")
    before = contents(path)
    problems = MemoryStore.recover(path, dry_run=True)
    assert {problem.kind for problem in problems} == {"marker", "index"} and not any(one.repaired for one in problems)
    assert contents(path) == before


def test_a_sound_store_is_left_as_it_is(path: Path) -> None:
    before = contents(path)
    assert MemoryStore.recover(path) == ()
    assert contents(path) == before


def test_a_strangers_database_is_not_recovered(path: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(path / "index" / "cache.db")
    connection.execute("CREATE TRIGGER t AFTER UPDATE ON Cache BEGIN DELETE FROM Cache; END")
    connection.close()
    with pytest.raises(StoreFormatError, match="does not write that"):
        MemoryStore.recover(path)
    with pytest.raises(StoreError, match="no memory store"):
        MemoryStore.recover(tmp_path / "nothing")


# The marker


def changed(data: bytes) -> dict[str, bytes | None]:
    flipped = {f"bit {place}": place for place in range(0, 8 * len(data), max(1, 8 * len(data) // 16))}
    cases: dict[str, bytes | None] = {
        name: bytes([*data[: place // 8], data[place // 8] ^ 1 << place % 8, *data[place // 8 + 1 :]])
        for name, place in flipped.items()
    }
    return cases | {
        "gone": None,
        "empty": b"",
        "half": data[: len(data) // 2],
        "zeros": bytes(len(data)),
        "noise": b"\xff\xfe" * 40,
        "newer by a flip": data.replace(b'"version": 3', b'"version": 7'),
    }


def test_a_damaged_marker_is_made_anew(path: Path) -> None:
    marker = path / "store.json"
    data = marker.read_bytes()
    identity = json.loads(data)["id"]
    for name, damaged in changed(data).items():
        marker.unlink(missing_ok=True)
        if damaged is not None:
            marker.write_bytes(damaged)
        try:
            with MemoryStore.open(path, read_only=True) as store:
                assert store.id == identity, name  # a flip in white space
            continue
        except StoreFormatError as error:
            assert "rcc verify --repair" in str(error), name
        (problem,) = MemoryStore.recover(path)
        assert problem.kind == "marker" and problem.repaired
        with MemoryStore.open(path) as store:
            assert set(read(store)) == ALL and len(store.id) == 32, name


def test_a_marker_of_a_later_version_is_no_damage(path: Path) -> None:
    from rcc_integrations.memory.layout import write_marker

    write_marker(path, "0" * 32, 9)
    before = (path / "store.json").read_bytes()
    with pytest.raises(StoreFormatError, match="version 9"):
        MemoryStore.recover(path)
    assert (path / "store.json").read_bytes() == before


# Making a store


@pytest.mark.parametrize("left", ["nothing", "empty", "one page", "journal"])
def test_what_a_kill_left_of_a_store_that_was_being_made_is_finished(tmp_path: Path, left: str) -> None:
    """What versions before left, which made the index under its own name."""
    path = tmp_path / "store"
    with MemoryStore.open(path):
        pass
    index = path / "index"
    shutil.rmtree(index)
    if left != "nothing":
        index.mkdir()
        (index / "cache.db").write_bytes(b"")
    if left in ("one page", "journal"):
        connection = sqlite3.connect(index / "cache.db")
        connection.execute("PRAGMA user_version = 1")
        connection.close()
    if left == "journal":
        (index / "cache.db-journal").write_bytes(bytes.fromhex("d9d505f920a163d7") + bytes(504))
    with pytest.raises(StoreError), MemoryStore.open(path, create=False, read_only=True) as store:
        store.collections()
    with MemoryStore.open(path) as store:
        fill(store)
        assert set(read(store)) == ALL and store.verify(grace=0).ok


# Rows that want too much


def test_a_row_that_stands_for_endless_memory_is_refused_before_it_is_parsed(path: Path) -> None:
    from rcc_integrations.memory.json_disk import seal_of

    connection = sqlite3.connect(path / "index" / "cache.db")
    ((key, value),) = connection.execute("SELECT key, value FROM Cache WHERE key LIKE 'document:%:b.md'").fetchall()
    text = json.dumps({**json.loads(value), "metadata": {"x": "HERE"}}).replace('"HERE"', "[" + "[]," * 700_000 + "0]")
    with connection:
        connection.execute("UPDATE Cache SET value = ?, tag = ? WHERE key = ?", (text, seal_of(key, text), key))
    connection.close()
    with MemoryStore.open(path) as store:
        with pytest.raises(StoreFormatError, match="not JSON"):
            store.documents("notes")
        with pytest.raises(ConfigError, match="brackets"):
            store.update_document("notes", "a.md", metadata={"x": list[Any]([] for _ in range(700_000))})
        # What people keep is not that dense.
        rich: dict[str, Any] = {"pages": list(range(100_000, 190_000)), "text": "a, b, [c] " * 20_000}
        store.update_document("other", "a.md", metadata=rich)
        assert store.document("other", "a.md").metadata == rich


def test_a_long_record_of_ours_is_not_taken_for_one(tmp_path: Path) -> None:
    from rcc_integrations.memory.json_disk import check_density
    from rcc_integrations.memory.json_value import dumps
    from rcc_integrations.memory.records import WindowRecord

    windows = [WindowRecord("a" * 64, 9 * number, 9 * number + 9, 2, 1).to_json() for number in range(40_000)]
    text = dumps({"windows": [*windows]})
    assert len(text) > 1 << 20
    check_density(text)


def test_errors_of_the_system_are_errors_of_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    real = os.scandir

    def fail(folder: Any) -> Any:
        if str(folder).endswith("texts"):
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(os, "scandir", fail)
    with MemoryStore.open(path) as store:
        report = store.verify(repair=True, grace=0)
        assert {problem.kind for problem in report.problems} == {"unreadable"}
    monkeypatch.undo()
    with pytest.raises(RCCError):
        MemoryStore.open(path / "store.json" / "below")
