from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations.errors import StoreFormatError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.index import Index
from rcc_integrations.memory.report import DamagedDocument
from rcc_integrations.memory.store import MemoryStore
from tests.memory.conftest import add, files, key_for, memory


@pytest.fixture
def filled(store: MemoryStore) -> MemoryStore:
    add(store, "notes", "a", "text of a", "a1", "common")
    add(store, "notes", "b", "text of b", "b1", "common")
    store.create_collection("other", fingerprint="f1", model={})
    add(store, "other", "a", "text of a", "a1")
    return store


def kinds(store: MemoryStore, **options: Any) -> list[str]:
    return sorted(problem.kind for problem in store.verify(**options).problems)


def change(store: MemoryStore, key: str, value: Any) -> None:
    """Put a value in the place of a row; None removes it."""
    index = Index(store.path / "index")
    with index.write() as rows:
        assert rows.get(key) is not None
        rows.delete(key) if value is None else rows.set(key, value)
    index.close()


def value_of(store: MemoryStore, key: str) -> Any:
    index = Index(store.path / "index", read_only=True)
    with index.read() as rows:
        value = rows.get(key)
    index.close()
    return value


def document_key(store: MemoryStore, document: str, collection: str = "notes") -> str:
    return f"document:{store.collection(collection).uid}:{document}"


def blob_path(store: MemoryStore, name: str) -> Path:
    key = key_for(name)
    return store.path / "blobs" / key[:2] / f"{key}.safetensors"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_sound_store_is_sound(filled: MemoryStore) -> None:
    report = filled.verify()
    assert report.ok and not report.problems and not report.damaged and not report.broken_blobs
    assert (report.collections, report.documents, report.blobs, report.texts) == (2, 3, 3, 2)
    before = files(filled), filled.collections()
    assert filled.verify(repair=True, grace=0).ok
    assert (files(filled), filled.collections()) == before


@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_a_broken_blob_names_its_documents_and_they_can_be_added_again(filled: MemoryStore, how: str) -> None:
    path = blob_path(filled, "common")
    {"flip": lambda: flip(path), "truncate": lambda: os.truncate(path, 50), "remove": path.unlink}[how]()
    report = filled.verify()
    assert not report.ok and report.broken_blobs == (key_for("common"),)
    assert sorted(report.damaged) == [("notes", "a", True), ("notes", "b", True)]
    assert [problem.kind for problem in report.problems] == ["blob-damaged", "document-damaged", "document-damaged"]
    report = filled.verify(repair=True)
    # What was broken is out of the way; only whoever has the model, or adds the documents again, makes it anew.
    assert not report.ok and [problem.repaired for problem in report.problems] == [False, False, False]
    assert report.problems[0].action and not path.exists() and filled.has_blobs([key_for("common")]) == set()
    kept = list((filled.path / "lost+found").rglob(path.name))
    assert len(kept) == (how != "remove")
    for name in ("a", "b"):
        add(filled, "notes", name, f"text of {name}", f"{name}1", "common")
    assert filled.collection("notes").revision == 2 and filled.verify(grace=0).ok


@pytest.mark.parametrize("how", ["flip", "remove"])
def test_a_broken_text_names_its_documents(filled: MemoryStore, how: str) -> None:
    key = filled.document("notes", "b").text_key
    path = filled.path / "texts" / key[:2] / f"{key}.txt"
    flip(path) if how == "flip" else path.unlink()
    for repair in (False, True):
        report = filled.verify(repair=repair)
        assert report.damaged == (DamagedDocument("notes", "b", False),) and not report.ok
    add(filled, "notes", "b", "text of b", "b1", "common")
    assert filled.verify(grace=0).ok


def test_a_broken_blob_that_nobody_needs_is_removed(store: MemoryStore) -> None:
    store.put_blobs({key_for("x"): memory()})
    flip(blob_path(store, "x"))
    assert kinds(store) == ["blob-damaged"]
    assert store.verify(repair=True).ok and files(store) == set() and store.stats().blobs == 0


def test_unused_blobs_go_after_their_grace(store: MemoryStore) -> None:
    store.put_blobs({key_for("x"): memory()})
    assert kinds(store) == [] and kinds(store, repair=True) == [] and len(files(store)) == 1
    assert kinds(store, grace=0) == ["unreferenced"]
    row = value_of(store, f"blob:{key_for('x')}")
    change(store, f"blob:{key_for('x')}", {**row, "put": time.time() - 4000})
    assert kinds(store) == ["unreferenced"] and len(files(store)) == 1
    report = store.verify(repair=True)
    assert report.ok and report.problems[0].repaired
    assert files(store) == set() and store.stats().blob_bytes == 0 and kinds(store, grace=0) == []


def test_files_without_rows_and_leftovers_go(filled: MemoryStore) -> None:
    before = files(filled)
    stray = filled.path / "blobs" / "ab" / f"{'ab' * 32}.safetensors"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    text = filled.path / "texts" / "cd" / f"{'cd' * 32}.txt"
    text.parent.mkdir(exist_ok=True)
    text.write_bytes(b"x")
    old, young = stray.parent / ".writing-1-old", stray.parent / ".writing-1-young"
    root = filled.path / ".writing-1-root"
    for path in (old, young, root):
        path.write_bytes(b"x")
    for path in (old, root):
        os.utime(path, (1, 1))
    assert kinds(filled) == ["file-without-row", "file-without-row", "leftover", "leftover"]
    report = filled.verify(repair=True)
    assert report.ok and files(filled) - before == {young.name} and not root.exists()
    assert filled.verify(repair=True, grace=0).ok and files(filled) == before


def test_strange_files_are_named_and_left(filled: MemoryStore, tmp_path: Path) -> None:
    shard = blob_path(filled, "a1").parent
    (shard / "notes.txt").write_text("mine")
    (filled.path / "texts" / "link").symlink_to(tmp_path)
    report = filled.verify(repair=True)
    assert [problem.kind for problem in report.problems] == ["foreign", "foreign"] and not report.ok
    assert (shard / "notes.txt").exists() and (filled.path / "texts" / "link").is_symlink()


def test_wrong_counts_are_found_and_set_right(filled: MemoryStore) -> None:
    blob, uid = f"blob:{key_for('common')}", filled.collection("notes").uid
    text = f"text:{filled.document('notes', 'a').text_key}"
    good = {key: value_of(filled, key) for key in (blob, text, "usage")}
    change(filled, blob, {**good[blob], "count": 7})
    change(filled, text, {**good[text], "count": 1})
    change(filled, "usage", {"blobs": 1, "texts": 1})
    change(filled, f"collection:{uid}", {**filled.collection("notes").to_json(), "tokens": 5, "documents": 9})
    assert kinds(filled) == ["counters", "reference-count", "reference-count", "usage"]
    report = filled.verify(repair=True)
    # That documents were counted which are not there is told of, as they may be lost.
    assert [problem.kind for problem in report.problems if not problem.repaired] == ["document-lost"]
    assert kinds(filled) == []
    assert {key: value_of(filled, key) for key in good} == good
    assert filled.collection("notes").documents == 2 and filled.collection("notes").revision == 3


def test_a_lost_row_is_found_and_its_documents_can_be_added_again(filled: MemoryStore) -> None:
    change(filled, f"blob:{key_for('b1')}", None)
    change(filled, f"text:{filled.document('notes', 'b').text_key}", None)
    report = filled.verify()
    # A text proves itself by its name: its row can be made anew, that of a memory cannot.
    assert report.damaged == (("notes", "b", True),) and not report.ok
    report = filled.verify(repair=True)
    assert report.damaged == (("notes", "b", True),) and not report.ok
    assert filled.text(filled.document("notes", "b").text_key) == "text of b"
    add(filled, "notes", "b", "text of b", "b1", "common")
    assert filled.verify(grace=0).ok
    filled.delete_documents("notes", ["b"])
    assert filled.verify(grace=0).ok


@pytest.mark.parametrize("value", [{"id": "b"}, [], 1, "x"])
def test_an_unreadable_document_is_named_and_removed(filled: MemoryStore, value: Any) -> None:
    change(filled, document_key(filled, "b"), value)
    report = filled.verify()
    assert report.damaged == (("notes", "b", False),) and "record" in kinds(filled) and not report.ok
    revision = filled.collection("notes").revision
    assert filled.verify(repair=True, grace=0).damaged == (("notes", "b", False),)
    assert [record.id for record in filled.documents("notes")] == ["a"]
    assert filled.collection("notes").revision == revision + 1
    assert filled.verify(grace=0).ok and f"{key_for('b1')}.safetensors" not in files(filled)


def test_a_document_in_the_place_of_another_is_refused(filled: MemoryStore) -> None:
    change(filled, document_key(filled, "b"), filled.document("notes", "a").to_json())
    assert filled.verify(repair=True).damaged == (("notes", "b", False),)
    assert filled.verify(grace=0, repair=True).ok


def test_a_collection_that_cannot_be_rebuilt_stays_as_it_is_with_all_its_documents(filled: MemoryStore) -> None:
    uid, before = filled.collection("notes").uid, files(filled)
    change(filled, f"collection:{uid}", {"name": "notes"})
    for _ in range(2):
        report = filled.verify(repair=True, grace=0)
        assert not report.ok and not report.damaged and files(filled) == before
        assert [problem.where for problem in report.problems] == [f"collection:{uid}"] * 2
    model: dict[str, Any] = {"base": "tiny", "ratio": 4}
    report = filled.verify(repair=True, grace=0, rebuild=lambda lost: ("f1", model))
    assert report.ok and [record.id for record in filled.documents("notes")] == ["a", "b"]
    assert filled.verify(grace=0).problems == () and files(filled) == before


def test_a_collection_that_lost_its_name_gets_it_back(filled: MemoryStore) -> None:
    before = filled.snapshot("notes")
    change(filled, "name:notes", None)
    assert kinds(filled) == ["collection"]
    assert filled.verify(repair=True).ok and filled.snapshot("notes") == before


@pytest.mark.parametrize("key", ["blob", "text", "usage", "unknown"])
def test_an_unreadable_row_of_another_kind_is_repaired(filled: MemoryStore, key: str) -> None:
    record = filled.document("notes", "b")
    index = Index(filled.path / "index")
    name = {"blob": ledger.BLOB + key_for("b1"), "text": ledger.TEXT + record.text_key, "usage": ledger.USAGE}
    with index.write() as rows:
        rows.set(name.get(key, "unknown:row"), {"count": "many"})
    index.close()
    assert "record" in kinds(filled)
    filled.verify(repair=True)
    add(filled, "notes", "b", "text of b", "b1", "common")
    assert filled.verify(grace=0).ok and len(filled.documents("notes")) == 2


def test_a_foreign_row_is_named_and_left(filled: MemoryStore) -> None:
    connection = sqlite3.connect(filled.path / "index" / "cache.db")
    with connection:
        connection.execute("INSERT INTO Cache(key, raw, mode, value) VALUES (x'80', 0, 4, x'80')")
    connection.close()
    report = filled.verify(repair=True)
    assert [problem.kind for problem in report.problems] == ["foreign"] and not report.ok
    assert len(filled.documents("notes")) == 2


def test_a_damaged_database_is_found(filled: MemoryStore) -> None:
    filled.close()
    path = filled.path / "index" / "cache.db"
    data = bytearray(path.read_bytes())
    for place in range(4096 * 3, len(data), 512):
        data[place : place + 16] = b"\xff" * 16
    path.write_bytes(data)
    with pytest.raises(StoreFormatError, match="damaged"), MemoryStore.open(filled.path) as store:
        report = store.verify()
        assert report.ok, report
