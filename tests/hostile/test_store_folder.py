"""A store from a stranger: refused with an error of ours, nothing run, nothing outside read, changed or removed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations.errors import ConfigError, CorruptBlobError, StoreError, StoreFormatError
from rcc_integrations.memory.blobs import checksum_of, to_bytes
from rcc_integrations.memory.quantization import encode
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.memory.texts import MAX_TEXT
from tests.hostile.conftest import SECRET, Outside, Payload
from tests.hostile.stores import (
    blob_path,
    build,
    change_row,
    row_key,
    row_value,
    run,
    set_blob,
    set_row,
    text_path,
    use,
)
from tests.memory.conftest import key_for, memory, text_key

pytestmark = pytest.mark.timeout(60)

KINDS = ("name:", "collection:", "document:", "blob:", "text:", "usage")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("sound") / "store")


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "store"))


#: What `use` meets in a store that is sound: it asks once more after it dropped the only collection.
SOUND = "There is no collection 'notes'. There are no collections yet."


def check(errors: list[Any], *words: str) -> None:
    """Assert that there were errors, that one of them says each of the words, and that none tells a secret."""
    told = "\n".join(str(error) for error in errors if str(error) != SOUND)
    assert told
    assert SECRET not in told and "7391" not in told
    for word in words:
        assert word in told, told


def test_a_sound_store_can_be_used(store: Path, outside: Outside) -> None:
    errors = use(store)
    assert [str(error) for error in errors] == [SOUND]
    with pytest.raises(AssertionError):
        check(errors)  # a test of a store that nothing is wrong with fails


def test_the_watch_sees_what_it_should(tmp_path: Path, outside: Outside) -> None:
    assert pickle.loads(pickle.dumps(Payload(tmp_path / "made"))) is None
    outside.secret.read_text()
    os.listdir(outside.path)
    assert [event for event, *_ in outside.events] == ["pickle.find_class", "open", "os.listdir"]
    outside.events.clear()


# Rows


@pytest.mark.parametrize("kind", ["name:", "document:", "usage"])
@pytest.mark.parametrize(
    "change",
    [
        "mode = 4, value = :pickle",
        "value = :pickle",
        "tag = :pickle",
        "mode = 2, filename = '../../outside/secret.txt'",
        "mode = 4, filename = :secret, value = NULL",
        "filename = :secret",
    ],
)
def test_rows_of_diskcache_that_would_run_or_read_are_refused(
    store: Path, outside: Outside, kind: str, change: str
) -> None:
    connection = sqlite3.connect(store / "index" / "cache.db")
    with connection:
        values = {
            "pickle": pickle.dumps(Payload(outside.canary)),
            "secret": str(outside.secret),
            "key": row_key(store, kind),
        }
        connection.execute(f"UPDATE Cache SET {change} WHERE key = :key", values)
    connection.close()
    check(use(store), "index holds")


def test_a_pickled_key_is_never_opened(store: Path, outside: Outside) -> None:
    run(store, "UPDATE Cache SET key = ?, raw = 0 WHERE key = 'usage'", pickle.dumps(Payload(outside.canary)))
    run(store, "UPDATE Cache SET raw = 0 WHERE key LIKE 'name:%'")
    check(use(store), "index holds")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE Settings SET value = x'80049500' WHERE key = 'size'",
        "INSERT INTO Settings VALUES ('disk', 'diskcache.Disk')",
        "INSERT INTO Settings VALUES ('sqlite_temp_store_directory', '/tmp')",
        "INSERT INTO Settings VALUES ('__class__', 1)",
        "CREATE TRIGGER t AFTER UPDATE ON Cache BEGIN DELETE FROM Cache; END",
        "CREATE VIEW v AS SELECT readfile('/etc/hostname')",
        "CREATE TABLE t (x DEFAULT (load_extension('evil')))",
        "CREATE INDEX i ON Cache (key) WHERE load_extension('evil')",
    ],
)
def test_settings_triggers_and_views_of_a_stranger_are_refused(store: Path, outside: Outside, statement: str) -> None:
    try:
        run(store, statement)
    except sqlite3.OperationalError:
        # SQLite itself takes no such statement; what a stranger's own build of it would have written is this.
        run(store, "PRAGMA writable_schema = ON")
        connection = sqlite3.connect(store / "index" / "cache.db")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_master VALUES ('trigger', 't', 'Cache', 0, ?)", (statement,))
        connection.commit()
        connection.close()
    # SQLite itself refuses an index that calls a function it does not know.
    check(use(store), "malformed database schema" if "INDEX" in statement else "not ours")


def journal_that_removes(victim: Path, database: Path) -> bytes:
    """Return a rollback journal at whose end SQLite looks for a journal of several databases, to remove it."""
    magic, page, name = bytes.fromhex("d9d505f920a163d7"), 4096, str(victim).encode()
    head = (magic + struct.pack(">IIIII", 0, 0, database.stat().st_size // page, 512, page)).ljust(512, b"\0")
    return head + struct.pack(">I", 2**30 // page + 1) + name + struct.pack(">II", len(name), sum(name)) + magic


def test_a_journal_that_makes_sqlite_remove_a_file_elsewhere_is_not_played_back(
    store: Path, outside: Outside, tmp_path: Path
) -> None:
    run(store, "PRAGMA journal_mode = delete")
    database = store / "index" / "cache.db"
    beside, victim = tmp_path / "beside.db", tmp_path / "victim"
    shutil.copy(database, beside)
    victim.write_text("precious")
    beside.with_name("beside.db-journal").write_bytes(journal_that_removes(victim, beside))
    connection = sqlite3.connect(beside)
    connection.execute("SELECT * FROM Cache").fetchall()
    connection.close()
    assert not victim.exists(), "SQLite alone is no longer taken in: this test shows nothing"
    database.with_name("cache.db-journal").write_bytes(journal_that_removes(outside.secret, database))
    check(use(store), "journal")


# JSON

DEEP = '{"a":' * 5000 + "1" + "}" * 5000
BOMBS = {
    "deep": "[" * 100_000,
    "deep and closed": "[" * 900 + "]" * 900,
    "digits": "1" * 100_000,
    "nan": "NaN",
    "infinity": "-Infinity",
    "beyond floats": "1e999",
    "text": '"x',
    "type": '["a"]',
}


RECORDS = ("collection:", "document:")


@pytest.mark.parametrize(
    ("kind", "bomb"),
    [(kind, bomb) for kind in KINDS for bomb in BOMBS if kind in RECORDS or bomb in {"deep", "digits", "type"}],
)
def test_rows_that_are_no_record_are_refused(store: Path, kind: str, bomb: str) -> None:
    set_row(store, row_key(store, kind), BOMBS[bomb])
    check(use(store))


@pytest.mark.parametrize("number", ["1" * 100_000, "1" * 4000, "9007199254740993", "1e400", "-1", "1.5", "true", '"1"'])
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("collection:", "slots"), ("collection:", "created"), ("document:", "characters"), ("blob:", "bytes"),
        ("blob:", "put"), ("text:", "count"),
    ],
)  # fmt: skip
def test_numbers_that_cannot_be_are_refused(store: Path, kind: str, field: str, number: str) -> None:
    if field in {"created", "added", "put"} and number in {"-1", "1.5"}:
        return  # a time may be that
    key = row_key(store, kind)
    text = json.dumps({**row_value(store, key), field: "HERE"}).replace('"HERE"', number)
    set_row(store, key, text)
    with MemoryStore.open(store, read_only=True) as opened:
        assert not opened.verify().ok
        if kind in RECORDS:
            with pytest.raises((CorruptBlobError, StoreFormatError)):
                opened.documents("notes")


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("document:", "metadata", '{"a":' * 40 + "1" + "}" * 40),
        ("document:", "metadata", DEEP),
        ("document:", "metadata", '{"a": 1, "a": 2}'),
        ("document:", "metadata", '{"a": "\\ud800"}'),
        ("document:", "metadata", '{"a": 18446744073709551616}'),
        ("document:", "digest", '"\\udfff"'),
        ("document:", "id", '"b"'),
        ("document:", "text_key", '"../../../outside/secret.txt"'),
        ("document:", "windows", '[["../../../outside/secret.txt", 0, 9, 16, 16]]'),
        ("document:", "windows", f'[["{"f" * 64}", 0, {2**60}, 16, 16]]'),
        ("collection:", "model", '{"ratio": NaN}'),
        ("collection:", "name", '"\\ud800"'),
        ("collection:", "name", '"../../outside"'),
        ("collection:", "uid", '"../../outside"'),
        ("collection:", "storage", '"pickle"'),
    ],
)
def test_fields_that_no_record_of_ours_has_are_refused(store: Path, kind: str, field: str, value: str) -> None:
    key = row_key(store, kind)
    set_row(store, key, json.dumps({**row_value(store, key), field: "HERE"}).replace('"HERE"', value))
    with MemoryStore.open(store, read_only=True) as opened:
        with pytest.raises((CorruptBlobError, StoreFormatError)):
            opened.documents("notes")
        assert not opened.verify().ok
    check(use(store))


def test_a_row_longer_than_any_of_ours_is_not_loaded(store: Path) -> None:
    run(store, "UPDATE Cache SET value = CAST(zeroblob(70000000) AS TEXT) WHERE key = ?", row_key(store, "document:"))
    check(use(store), "too big")


def test_a_record_too_long_to_be_read_again_is_not_written(store: Path) -> None:
    with MemoryStore.open(store) as opened:
        with pytest.raises(ConfigError, match="too long for the index"):
            opened.update_document("notes", "a", metadata={"text": "x" * (1 << 26)})
        opened.update_document("notes", "a", metadata={"text": "x" * (1 << 20)})
        assert len(opened.document("notes", "a").metadata["text"]) == 1 << 20


@pytest.mark.parametrize(
    "marker",
    [
        b"", b"[" * 60_000, b'{"format": "rcc-memory-store", "version": ' + b"1" * 60_000 + b', "id": "x"}',
        b'{"format": "rcc-memory-store", "version": NaN, "id": "x"}', b"\xff\xfe", b'"' + b"x" * 100_000 + b'"',
        b'{"format": "rcc-memory-store", "version": 1, "version": 1, "id": "x"}',
        b'{"format": "rcc-memory-store", "version": true, "id": "x"}',
    ],
)  # fmt: skip
def test_a_marker_that_is_none_is_refused(store: Path, marker: bytes) -> None:
    (store / "store.json").write_bytes(marker)
    with pytest.raises(StoreFormatError, match=r"store\.json"):
        MemoryStore.open(store)


# Files


def link_to(target: Path) -> Callable[[Path], None]:
    def place(path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(target)

    return place


def pipe(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    os.mkfifo(path)


def folder(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        path.mkdir()


PLACES: dict[str, Callable[[Path], Path]] = {
    "blobs": lambda store: store / "blobs",
    "texts": lambda store: store / "texts",
    "index": lambda store: store / "index",
    "blob shard": lambda store: blob_path(store, key_for("a1")).parent,
    "text shard": lambda store: text_path(store, text_key("text of a")).parent,
    "blob": lambda store: blob_path(store, key_for("a1")),
    "text": lambda store: text_path(store, text_key("text of a")),
    "database": lambda store: store / "index" / "cache.db",
    "log": lambda store: store / "index" / "cache.db-wal",
    "journal": lambda store: store / "index" / "cache.db-journal",
    "marker": lambda store: store / "store.json",
}


WHATS = ("file", "folder", "relative", "device", "pipe", "directory")
FOLDERS = ("blobs", "texts", "index", "blob shard", "text shard")


@pytest.mark.parametrize(
    ("place", "what"),
    [
        (place, what)
        for place in PLACES
        for what in WHATS
        if (what in {"file", "folder", "pipe"} or place in {"blob", "text", "marker"}
            or (what == "directory" and place not in FOLDERS))
    ],
)  # fmt: skip
def test_what_is_no_plain_file_or_folder_is_not_followed(store: Path, outside: Outside, place: str, what: str) -> None:
    path = PLACES[place](store)
    targets = {
        "file": outside.secret,
        "folder": outside.path,
        "relative": Path(os.path.relpath(outside.secret, path.parent)),
        "device": Path("/dev/zero"),
    }
    {"pipe": pipe, "directory": folder}.get(what, link_to(targets.get(what, outside.path)))(path)
    check(use(store))


def test_a_link_to_a_file_of_the_right_size_and_checksum_is_still_a_link(store: Path, outside: Outside) -> None:
    data = outside.secret.read_bytes()
    outside.events.clear()
    key = key_for("a1")
    set_blob(store, key, data)
    link_to(outside.secret)(blob_path(store, key))
    with MemoryStore.open(store) as opened, pytest.raises(CorruptBlobError, match="not a plain file"):
        opened.get_blob(key)
    link = text_path(store, text_key(SECRET))
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside.secret)
    change_row(store, "document:", text_key=text_key(SECRET), characters=len(SECRET))
    check(use(store), "not a plain file")


def test_links_are_not_looked_through_where_the_index_is_gone(store: Path, outside: Outside) -> None:
    shutil.rmtree(store / "index")
    link_to(outside.path)(store / "blobs")
    link_to(outside.path)(store / "texts")
    use(store)


@pytest.mark.parametrize("size", [2**33 + 1, 2**40])
def test_files_that_claim_to_be_endless_are_not_read(store: Path, size: int) -> None:
    key = key_for("a1")
    os.truncate(blob_path(store, key), size)
    os.truncate(text_path(store, text_key("text of a")), size)
    row = row_value(store, f"blob:{key}")
    set_row(store, f"blob:{key}", {**row, "bytes": size})
    with MemoryStore.open(store, read_only=True) as opened, pytest.raises(CorruptBlobError, match="at most 1,000"):
        opened.get_blob(key, most=1000)
    check(use(store), f"{size:,} bytes", f"more than {MAX_TEXT:,}")


def test_a_text_longer_than_can_be_read_again_is_not_written(store: Path) -> None:
    with MemoryStore.open(store) as opened, pytest.raises(ConfigError, match="cut it into several"):
        opened.put_document("notes", "c", "x" * (MAX_TEXT + 1), windows=[], tokens=1, digest="")


# Contents


@pytest.mark.parametrize("part", ["blob", "text"])
def test_changed_bytes_are_found(store: Path, part: str) -> None:
    path = PLACES[part](store)
    data = bytearray(path.read_bytes())
    data[-1] ^= 4
    path.write_bytes(data)
    check(use(store), "checksum" if part == "blob" else "does not match its name")


def raw(header: bytes, body: bytes = b"", length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


def tensor(dtype: str = "F32", shape: Any = (2, 2), offsets: Any = (0, 16)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def described(entries: dict[str, Any], size: int = 16) -> bytes:
    text = json.dumps(entries).encode()
    return raw(text + b" " * (-len(text) % 8), bytes(size))


@pytest.mark.parametrize(
    "data",
    [
        raw(b"{}", length=2**64 - 1),
        raw(b"{}", length=2**40),
        raw(b" " * (2 << 20)),
        raw(b"[" * 100_000),
        raw(b'{"a":' * 20_000),
        raw(b'{"a": ' + b"1" * 100_000 + b"}"),
        described({"key": tensor(), "value": tensor()}),
        described({"key": tensor(offsets=(0, 16)), "value": tensor(offsets=(8, 24))}, 24),
        described({"key": tensor(offsets=(0, 2**62))}),
        described({"key": tensor(offsets=(-16, 0))}),
        described({"key": tensor(shape=(2**31, 2**31, 2**31))}),
        described({"key": tensor(shape=[1] * 100_000, dtype="I8", offsets=(0, 1))}, 1),
        described({"key": tensor("F64", (1, 2))}),
        described({"key": tensor("../../outside", (2, 2))}),
        raw(json.dumps({"key": tensor()}).replace('"key"', '"key": 1, "key"').encode() + b"    ", bytes(16)),
        pickle.dumps({"key": [1.0]}),
        b"PK\x03\x04" + bytes(100),
    ],
)  # fmt: skip
def test_blobs_that_are_no_safetensors_of_ours_are_refused_though_the_index_vouches_for_them(
    store: Path, outside: Outside, data: bytes
) -> None:
    set_blob(store, key_for("a1"), data)
    with MemoryStore.open(store, read_only=True) as opened, pytest.raises(CorruptBlobError):
        opened.get_blob(key_for("a1"))
    use(store)


def test_a_forged_blob_is_taken_for_what_it_says(store: Path) -> None:
    """The checksum finds damage; who can write the store can write another memory. docs/security.md says so."""
    data = to_bytes(encode(memory(9)))
    set_blob(store, key_for("a1"), data)
    with MemoryStore.open(store, read_only=True) as opened:
        assert opened.get_blob(key_for("a1")) and opened.verify().ok
    assert checksum_of(data) == row_value(store, f"blob:{key_for('a1')}")["checksum"]


def test_files_that_are_not_a_stores_are_told_and_left(store: Path, outside: Outside) -> None:
    for name in ("blobs/..evil", "blobs/ab/x.pkl", "texts/zz/y.txt", "index/evil.so"):
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).write_bytes(pickle.dumps(Payload(outside.canary)))
    with MemoryStore.open(store) as opened:
        report = opened.verify(repair=True, grace=0)
    assert sorted(Path(item.where).name for item in report.problems if item.kind == "foreign") == [
        "..evil", "x.pkl", "y.txt",
    ]  # fmt: skip
    assert (store / "blobs" / "..evil").exists()


def test_no_store_is_made_over_a_strangers_folder(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "notes.txt").touch()
    with pytest.raises(StoreError, match="not a memory store"):
        MemoryStore.open(tmp_path / "given")
