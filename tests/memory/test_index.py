from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations.errors import ConfigError, StoreError, StoreFormatError, StoreReadOnlyError
from rcc_integrations.memory.index import Index
from rcc_integrations.memory.json_disk import SETTINGS, JSONOnlyDisk, SafeCache, Unreadable


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "index"
    index = Index(folder)
    with index.write() as rows:
        rows.set("a:1", {"x": [1, 2.5, None, True, "ü"]})
        rows.set("a:2", "two")
    index.close()
    return folder


@pytest.fixture
def index(folder: Path) -> Any:
    index = Index(folder)
    yield index
    index.close()


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def plant(folder: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(folder / "cache.db")
    with connection:
        connection.execute(statement, values)
    connection.close()


ROW = "INSERT OR REPLACE INTO Cache(key, raw, mode, value, filename, tag, expire_time) VALUES (?, ?, ?, ?, ?, ?, ?)"


def test_rows_come_back(index: Index) -> None:
    with index.read() as rows:
        assert rows.get("a:1") == {"x": [1, 2.5, None, True, "ü"]} and rows.get("a:3") is None
        assert rows.scan("a:") == [("a:1", rows.get("a:1")), ("a:2", "two")]
        assert rows.count("a:") == 2 and rows.scan("b:") == [] and rows.check() == []


def test_a_failed_transaction_changes_nothing(index: Index) -> None:
    with pytest.raises(ZeroDivisionError), index.write() as rows:
        rows.set("a:3", 3)
        rows.delete("a:1")
        assert rows.get("a:3") == 3 and [key for key, _ in rows.scan("a:")] == ["a:2", "a:3"]
        raise ZeroDivisionError
    with index.read() as rows:
        assert [key for key, _ in rows.scan("a:")] == ["a:1", "a:2"]


def test_a_reader_sees_one_instant(index: Index) -> None:
    with index.read() as before:
        assert before.get("a:2") == "two"
        with index.write() as rows:
            rows.set("a:2", "changed")
            with index.read() as beside:
                assert beside.get("a:2") == "two"
        assert before.get("a:2") == "two"
        with index.read() as after:
            assert after.get("a:2") == "changed"


def test_threads_take_turns(index: Index) -> None:
    def count() -> None:
        for _ in range(20):
            with index.write() as rows:
                number = rows.get("n") or 0
                assert isinstance(number, int)
                rows.set("n", number + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with index.read() as rows:
        assert rows.get("n") == 80


def test_a_forked_child_uses_connections_of_its_own(index: Index) -> None:
    with index.read() as rows:
        assert rows.get("a:2") == "two"
    child = os.fork()
    if child == 0:
        try:
            with index.write() as mine:
                mine.set("child", 1)
            with index.read() as seen:
                os._exit(0 if seen.get("child") == 1 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    with index.read() as rows:
        assert rows.get("child") == 1


def test_a_reader_writes_nothing(folder: Path) -> None:
    index = Index(folder, read_only=True)
    with pytest.raises(StoreReadOnlyError, match="reading only"), index.write():
        pass
    with index.read() as rows:
        assert rows.get("a:2") == "two"
    index.close()
    with pytest.raises(StoreReadOnlyError, match="no index"):
        Index(folder.parent / "nothing", read_only=True)
    assert not (folder.parent / "nothing").exists()


def test_a_closed_index_says_so(index: Index) -> None:
    index.close()
    for action in (index.read, index.write):
        with pytest.raises(StoreError, match="closed"), action():
            pass


@pytest.mark.parametrize(
    "fields",
    [
        ("a:2", 1, 4, "PICKLE", None, None, None),
        ("a:2", 1, 1, "PICKLE", None, None, None),
        ("a:2", 1, 2, None, "../../secret", None, None),
        ("a:2", 1, 3, None, "/etc/hostname", None, None),
        ("a:2", 1, 4, None, "../../secret", None, None),
        ("a:2", 1, 1, '"two"', "../../secret", None, None),
        ("a:2", 0, 1, '"two"', None, None, None),
        ("a:2", 1, 1, '"two"', None, "PICKLE", None),
        ("a:2", 1, 1, '"two"', None, None, 1.0),
        ("a:2", 1, 1, 7, None, None, None),
        ("a:2", 1, 1, None, None, None, None),
        ("a:2", 1, 1, "{", None, None, None),
    ],
)
def test_a_planted_row_is_refused_and_never_run(folder: Path, tmp_path: Path, fields: tuple[Any, ...]) -> None:
    secret = tmp_path.parent / "secret"
    secret.write_bytes(pickle.dumps(Bomb(tmp_path / "boom")))
    payload = pickle.dumps(Bomb(tmp_path / "boom"))
    plant(folder, ROW, *(payload if field == "PICKLE" else field for field in fields))
    index = Index(folder)
    with index.read() as rows:
        with pytest.raises(StoreFormatError):
            rows.get("a:2")
        with pytest.raises(StoreFormatError):
            rows.scan("a:")
        assert sum(isinstance(row.value, Unreadable) for row in rows.everything()) == 1
    with index.write() as changing:
        with pytest.raises(StoreFormatError):
            changing.get("a:2")
        with pytest.raises(StoreFormatError):
            changing.scan("a:")
    index.close()
    assert secret.exists() and not (tmp_path / "boom").exists()


def test_a_planted_pickled_key_is_never_run_by_any_way_of_reading(folder: Path, tmp_path: Path) -> None:
    payload = pickle.dumps(Bomb(tmp_path / "boom"))
    plant(folder, "DELETE FROM Cache")
    plant(folder, ROW, payload, 0, 4, payload, None, payload, None)
    cache = SafeCache(str(folder))
    ways: list[Callable[[], Any]] = [
        lambda: list(cache),
        lambda: list(reversed(cache)),
        lambda: list(cache.iterkeys()),
        cache.peekitem,
        cache.pull,
        cache.peek,
        lambda: cache.get(Bomb(tmp_path / "boom")),
        lambda: cache.set(Bomb(tmp_path / "boom"), 1),
    ]
    for way in ways:
        with contextlib.suppress(StoreFormatError, KeyError):
            way()
        assert not (tmp_path / "boom").exists()
    with pytest.raises(StoreFormatError):
        list(cache)
    cache.close()


def test_a_planted_file_name_removes_nothing(folder: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    plant(folder, ROW, "a:2", 1, 1, '"two"', "../victim", None, None)
    index = Index(folder)
    with pytest.raises(StoreFormatError, match="side file"), index.write() as rows:
        rows.set("a:2", "new")
    with pytest.raises(StoreFormatError, match="side file"), index.write() as rows:
        rows.delete("a:2")
    index.close()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO Settings VALUES ('_directory', '/elsewhere')",
        "INSERT INTO Settings VALUES ('disk__directory', '/elsewhere')",
        "INSERT INTO Settings VALUES ('sqlite_writable_schema', 1)",
        "INSERT INTO Settings VALUES ('sqlite_cache_size', '1; x')",
        "UPDATE Settings SET value = 'off' WHERE key = 'sqlite_journal_mode'",
        "UPDATE Settings SET value = 'least-recently-stored' WHERE key = 'eviction_policy'",
        "UPDATE Settings SET value = x'80' WHERE key = 'count'",
        "CREATE TRIGGER evil AFTER INSERT ON Cache BEGIN DELETE FROM Cache; END",
        "CREATE VIEW evil AS SELECT 1",
        "CREATE TABLE evil(x)",
        "CREATE INDEX evil ON Cache(tag)",
    ],
)
def test_a_planted_setting_or_trigger_is_refused_before_it_can_matter(folder: Path, statement: str) -> None:
    plant(folder, "DELETE FROM Settings WHERE key = 'sqlite_cache_size'")
    plant(folder, statement)
    before = (folder / "cache.db").read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreFormatError):
            Index(folder, read_only=read_only)
    assert (folder / "cache.db").read_bytes() == before


def test_a_half_made_database_is_finished(folder: Path) -> None:
    plant(folder, "DROP TRIGGER Settings_size_delete")
    plant(folder, "DELETE FROM Settings WHERE key > 'm'")
    index = Index(folder)
    with index.read() as rows:
        assert rows.get("a:2") == "two"
    index.close()


def test_harmless_settings_of_others_are_replaced_by_ours(folder: Path) -> None:
    plant(folder, "UPDATE Settings SET value = 5 WHERE key = 'cull_limit'")
    plant(folder, "UPDATE Settings SET value = 0 WHERE key = 'sqlite_synchronous'")
    cache = SafeCache(str(folder))
    assert {name: getattr(cache, name) for name in SETTINGS} == SETTINGS
    cache.close()


@pytest.mark.parametrize("data", [b"garbage" * 1000, b"", b"SQLite format 3\x00" + bytes(4096)])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "cache.db").write_bytes(data)
    with pytest.raises(StoreFormatError, match=r"damaged|not whole"):
        Index(tmp_path)
    assert (tmp_path / "cache.db").read_bytes() == data


@pytest.mark.parametrize("name", ["cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal"])
def test_links_in_the_index_are_refused(folder: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(target)
    with pytest.raises(StoreFormatError, match="link"):
        Index(folder)
    assert target.read_bytes() == b""


def test_a_linked_index_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(StoreFormatError, match="link"):
        Index(tmp_path / "link")


def test_a_path_that_the_library_would_expand_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELSEWHERE", "/elsewhere")
    with pytest.raises(ConfigError, match="ELSEWHERE"):
        Index(tmp_path / "$ELSEWHERE")
    Index(tmp_path / "$NOT_SET_AT_ALL").close()
    assert (tmp_path / "$NOT_SET_AT_ALL" / "cache.db").exists()


@pytest.mark.parametrize("name", ["a?mode=rwc", "a#b", "a%20b", "ü ö"])
def test_any_other_path_is_taken_literally(tmp_path: Path, name: str) -> None:
    index = Index(tmp_path / name)
    with index.write() as rows:
        rows.set("k", name)
    with index.read() as rows:
        assert rows.get("k") == name
    index.close()
    assert (tmp_path / name / "cache.db").exists()


def test_the_disk_takes_nothing_but_strings_and_json(tmp_path: Path) -> None:
    disk = JSONOnlyDisk(str(tmp_path))
    for key in (1, b"x", ("a",), None):
        with pytest.raises(StoreFormatError):
            disk.put(key)
    with open(os.devnull, "rb") as file, pytest.raises(StoreFormatError):
        disk.store(file, True)
    for value in ({1, 2}, b"x", float("nan")):
        with pytest.raises((TypeError, ValueError)):
            disk.store(value, False)
    assert disk.store({"a": 1}, False) == (0, 1, None, '{"a":1}')
