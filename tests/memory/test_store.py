from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rcc_integrations.errors import (
    BlobsMissingError,
    ConfigError,
    CorruptBlobError,
    EmptyDocumentError,
    FingerprintMismatchError,
    InvalidNameError,
    ModelError,
    StoreError,
    StoreFormatError,
    StoreFullError,
    StoreReadOnlyError,
    TextMissingError,
    UnknownCollectionError,
    UnknownDocumentError,
)
from rcc_integrations.memory.quantization import decode
from rcc_integrations.memory.store import MemoryStore
from tests.memory.conftest import add, files, key_for, memory, text_key, window

# The store's folder


def test_a_store_is_made_found_again_and_holds_no_vector_store_file(tmp_path: Path) -> None:
    with MemoryStore.open(str(tmp_path / "a" / "b")) as store:
        store.create_collection("notes", fingerprint="f1", model={})
        add(store, "notes", "a", "hello")
        identity = store.id
    with MemoryStore.open(tmp_path / "a" / "b", create=False) as again:
        assert again.id == identity and again.document("notes", "a").characters == 5
        assert again.path == tmp_path / "a" / "b"
    names = [path.name for path in (tmp_path / "a" / "b").rglob("*")]
    assert not [name for name in names if name.endswith("vector_store.json") or name.startswith(".writing-")]


def test_nothing_there_is_an_error_when_nothing_is_to_be_made(tmp_path: Path) -> None:
    for options in ({"create": False}, {"read_only": True}):
        with pytest.raises(StoreError, match="no memory store"):
            MemoryStore.open(tmp_path / "none", **options)
    assert not (tmp_path / "none").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"x")
    with pytest.raises(StoreFormatError, match=r"photo\.jpg"):
        MemoryStore.open(tmp_path)
    assert os.listdir(tmp_path) == ["photo.jpg"]
    with pytest.raises(StoreFormatError, match="is a file"):
        MemoryStore.open(tmp_path / "photo.jpg")


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ('{"format": "rcc-memory-store", "version": 4, "id": "x"}', "version 4.*reads versions 1 to 3.*Update"),
        ('{"format": "other", "version": 1, "id": "x"}', "format"),
        ('{"format": "rcc-memory-store", "version": true, "id": "x"}', "damaged"),
        ('{"format": "rcc-memory-store", "version": 1}', "damaged"),
        ("[]", "format"),
        ("{", "marker"),
        ("\x00", "marker"),
        ("[" * 60000, "marker"),
    ],
)
def test_a_wrong_marker_is_refused(tmp_path: Path, marker: str, message: str) -> None:
    (tmp_path / "store.json").write_text(marker)
    with pytest.raises(StoreFormatError, match=message):
        MemoryStore.open(tmp_path)
    assert os.listdir(tmp_path) == ["store.json"]


def test_a_linked_marker_is_refused(tmp_path: Path, store: MemoryStore) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "store.json").symlink_to(store.path / "store.json")
    with pytest.raises(StoreFormatError, match="link"):
        MemoryStore.open(tmp_path / "fake")


def test_a_lost_index_is_not_replaced_by_an_empty_one(store: MemoryStore) -> None:
    add(store, "notes", "a", "hello")
    store.close()
    for path in (store.path / "index").iterdir():
        path.unlink()
    with pytest.raises(StoreFormatError, match="index is gone"):
        MemoryStore.open(store.path)


def test_a_store_that_was_killed_while_it_was_made_opens(tmp_path: Path) -> None:
    (tmp_path / ".writing-1-aa").write_text("{")
    MemoryStore.open(tmp_path).close()
    marker = (tmp_path / "store.json").read_text()
    other = tmp_path / "other"
    other.mkdir()
    (other / "store.json").write_text(marker)
    with MemoryStore.open(other) as store:
        assert store.collections() == [] and store.stats().blobs == 0


def test_a_closed_store_says_so(store: MemoryStore) -> None:
    store.close()
    store.close()
    for action in (store.collections, store.stats, lambda: add(store, "notes", "a", "x")):
        with pytest.raises(StoreError, match="closed"):
            action()


@pytest.mark.parametrize("limit", [-1, 1.5, "1GB", True])
def test_a_strange_size_limit_is_refused(tmp_path: Path, limit: Any) -> None:
    with pytest.raises(ConfigError, match="size_limit"):
        MemoryStore.open(tmp_path, size_limit=limit)


# Collections


def test_collections_are_listed_by_name_and_found(store: MemoryStore) -> None:
    for name in ("zoo", "alpha"):
        store.create_collection(name, fingerprint="f2", model={"base": name}, storage="bfloat16")
    assert [record.name for record in store.collections()] == ["alpha", "notes", "zoo"]
    zoo = store.collection("zoo")
    assert (zoo.model, zoo.storage, zoo.revision, zoo.documents) == ({"base": "zoo"}, "bfloat16", 0, 0)
    assert len({record.uid for record in store.collections()}) == 3


def test_an_existing_collection_is_returned_and_another_model_refused(store: MemoryStore) -> None:
    again = store.create_collection("notes", fingerprint="f1", model={"base": "renamed"})
    assert again == store.collection("notes")
    with pytest.raises(FingerprintMismatchError, match=r"'f1'.*tiny.*'f2'.*large"):
        store.create_collection("notes", fingerprint="f2", model={"base": "large"})
    with pytest.raises(ConfigError, match="int8, not float32"):
        store.create_collection("notes", fingerprint="f1", model={}, storage="float32")
    with pytest.raises(ConfigError, match="int4"):
        store.create_collection("new", fingerprint="f1", model={}, storage="int4")
    assert [record.name for record in store.collections()] == ["notes"]


def test_an_unknown_collection_is_named_with_its_neighbours(store: MemoryStore) -> None:
    actions: list[Callable[[], object]] = [
        lambda: store.collection("note"),
        lambda: store.documents("note"),
        lambda: store.document("note", "a"),
        lambda: store.snapshot("note"),
        lambda: store.drop_collection("note"),
        lambda: store.rename_collection("note", "other"),
        lambda: store.delete_documents("note", ["a"]),
        lambda: add(store, "note", "a", "text"),
    ]
    for action in actions:
        with pytest.raises(UnknownCollectionError, match="Did you mean 'notes'"):
            action()
    with pytest.raises(InvalidNameError):
        store.collection("a/b")


def test_a_renamed_collection_keeps_everything_else(store: MemoryStore) -> None:
    add(store, "notes", "a", "hello")
    before = store.snapshot("notes")
    store.rename_collection("notes", "diary")
    after = store.snapshot("diary")
    assert after.documents == before.documents
    assert (after.collection.uid, after.collection.revision) == (before.collection.uid, before.collection.revision)
    with pytest.raises(UnknownCollectionError):
        store.collection("notes")
    store.create_collection("notes", fingerprint="f9", model={})
    with pytest.raises(ConfigError, match="'notes' already"):
        store.rename_collection("diary", "notes")
    assert store.rename_collection("diary", "diary").name == "diary"
    assert store.verify().ok


def test_a_dropped_collection_leaves_what_others_need(store: MemoryStore) -> None:
    store.create_collection("other", fingerprint="f1", model={})
    add(store, "notes", "a", "shared")
    add(store, "notes", "b", "mine alone")
    add(store, "other", "a", "shared")
    uid = store.drop_collection("notes").uid
    assert files(store) == {f"{key_for('shared')}.safetensors", f"{text_key('shared')}.txt"}
    assert store.create_collection("notes", fingerprint="f1", model={}).uid != uid
    assert store.documents("notes") == [] and store.verify(grace=0).ok
    store.drop_collection("other")
    assert files(store) == set() and store.stats().blob_bytes == store.stats().text_bytes == 0


# Documents


def test_a_document_is_read_as_it_was_put(store: MemoryStore) -> None:
    record = add(store, "notes", "dir/a.md", "héllo", "w1", "w2", digest="d", title="T", pages=[1, 2])
    assert store.document("notes", "dir/a.md") == record == store.documents("notes")[0]
    assert (record.characters, record.tokens, record.slots, record.digest) == (5, 5, 16, "d")
    assert record.metadata == {"title": "T", "pages": [1, 2]}
    assert store.text(record.text_key) == "héllo"
    for name, item in zip(("w1", "w2"), record.windows, strict=True):
        assert item.key == key_for(name)
        back = decode(store.get_blob(item.key))
        assert torch.allclose(back["key"], memory(len(name))["key"], atol=0.02)
    collection = store.collection("notes")
    assert (collection.revision, collection.documents, collection.windows) == (1, 1, 2)
    assert (collection.tokens, collection.slots) == (5, 16)


def test_a_replaced_document_keeps_its_place_and_frees_what_it_had(store: MemoryStore) -> None:
    for name in ("z", "a", "m"):
        add(store, "notes", name, f"text of {name}")
    add(store, "notes", "z", "new", "new 1", "new 2")
    assert [record.id for record in store.documents("notes")] == ["z", "a", "m"]
    assert f"{key_for('text of z')}.safetensors" not in files(store) and len(files(store)) == 7
    collection = store.collection("notes")
    assert (collection.revision, collection.documents, collection.windows, collection.slots) == (4, 3, 4, 32)
    assert collection.tokens == sum(record.tokens for record in store.documents("notes"))
    store.delete_documents("notes", ["z"])
    add(store, "notes", "z", "back")
    assert [record.id for record in store.documents("notes")] == ["a", "m", "z"]
    assert store.verify(grace=0).ok


def test_the_same_content_changes_nothing(store: MemoryStore) -> None:
    first = add(store, "notes", "a", "hello", digest="d", k=1)
    assert add(store, "notes", "a", "hello", digest="d", k=1) == first
    assert store.collection("notes").revision == 1
    for count, change in enumerate([{"digest": "e", "k": 1}, {"digest": "e", "k": 2}, {"digest": "e", "k": True}], 2):
        add(store, "notes", "a", "hello", **change)  # type: ignore[arg-type]
        assert store.collection("notes").revision == count
    assert store.verify(grace=0).ok


def test_digest_and_metadata_change_alone(store: MemoryStore) -> None:
    first = add(store, "notes", "a", "hello", digest="d", k=1)
    assert store.update_document("notes", "a") == first and store.collection("notes").revision == 1
    assert store.update_document("notes", "a", digest="e").metadata == {"k": 1}
    last = store.update_document("notes", "a", metadata={"x": [1]})
    assert (last.digest, last.metadata, last.windows) == ("e", {"x": [1]}, first.windows)
    assert store.document("notes", "a") == last and store.collection("notes").revision == 3


def test_windows_and_texts_are_shared_and_counted(store: MemoryStore) -> None:
    add(store, "notes", "a", "same text", "w", "w", "v")
    add(store, "notes", "b", "same text", "w")
    assert len(files(store)) == 3
    store.delete_documents("notes", ["a"])
    assert files(store) == {f"{key_for('w')}.safetensors", f"{text_key('same text')}.txt"}
    assert store.verify(grace=0).ok
    store.delete_documents("notes", ["b"])
    assert files(store) == set() and store.verify(grace=0).ok


def test_documents_are_deleted_together_or_not_at_all(store: MemoryStore) -> None:
    for name in ("report-1", "report-2"):
        add(store, "notes", name, name)
    with pytest.raises(UnknownDocumentError, match=r"no document 'report-3'.*Did you mean"):
        store.delete_documents("notes", ["report-1", "report-3"])
    assert len(store.documents("notes")) == 2 and store.collection("notes").revision == 2
    assert store.delete_documents("notes", []) == [] and store.collection("notes").revision == 2
    gone = store.delete_documents("notes", ["report-2", "report-1", "report-2"])
    assert [record.id for record in gone] == ["report-2", "report-1"]
    assert store.collection("notes").revision == 3 and store.collection("notes").documents == 0


def test_missing_blobs_are_named_and_nothing_changes(store: MemoryStore) -> None:
    add(store, "notes", "a", "old")
    before = store.snapshot("notes"), files(store)
    store.put_blobs({key_for("there"): memory()})
    windows = [window(name, 3) for name in ("there", "gone 1", "gone 2")]
    with pytest.raises(BlobsMissingError) as error:
        store.put_document("notes", "a", "new", windows=windows, tokens=3, digest="")
    assert set(error.value.keys) == {key_for("gone 1"), key_for("gone 2")}
    assert store.snapshot("notes") == before[0]
    assert files(store) - before[1] == {f"{key_for('there')}.safetensors"}


@pytest.mark.parametrize("damage", ["remove", "truncate"])
def test_a_row_without_its_file_is_a_missing_blob_and_can_be_put_again(store: MemoryStore, damage: str) -> None:
    record = add(store, "notes", "a", "hello")
    path = next((store.path / "blobs").rglob("*.safetensors"))
    path.unlink() if damage == "remove" else path.write_bytes(path.read_bytes()[:100])
    assert store.has_blobs([record.windows[0].key]) == set()
    with pytest.raises(BlobsMissingError if damage == "remove" else CorruptBlobError):
        store.get_blob(record.windows[0].key)
    with pytest.raises(BlobsMissingError):
        store.put_document("notes", "b", "x" * 9, windows=record.windows, tokens=1, digest="")
    assert add(store, "notes", "a", "hello") == record
    assert decode(store.get_blob(record.windows[0].key)).keys() == {"key", "value"}
    assert store.verify(grace=0).ok


def test_what_is_broken_is_written_anew_when_it_is_put_again(store: MemoryStore) -> None:
    record = add(store, "notes", "a", "hello")
    for path in store.path.glob("*/*/*"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    with pytest.raises(CorruptBlobError):
        store.get_blob(record.windows[0].key)
    with pytest.raises(CorruptBlobError):
        store.text(record.text_key)
    assert add(store, "notes", "a", "hello") == record
    assert store.text(record.text_key) == "hello" and store.verify(grace=0).ok


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"text": "a\ud800"}, ConfigError),
        ({"windows": []}, EmptyDocumentError),
        ({"windows": [window("w", 4)]}, ConfigError),
        ({"tokens": -1}, ConfigError),
        ({"tokens": 1.0}, ConfigError),
        ({"metadata": {"a": float("nan")}}, ConfigError),
        ({"metadata": {"a": object()}}, ConfigError),
        ({"digest": "\udfff"}, ConfigError),
        ({"id": "a\nb"}, InvalidNameError),
        ({"collection": ".."}, InvalidNameError),
    ],
)
def test_a_document_that_cannot_be_is_refused(store: MemoryStore, change: dict[str, Any], error: type) -> None:
    store.put_blobs({key_for("w"): memory()})
    before = files(store)
    good = {"collection": "notes", "id": "a", "text": "abc", "windows": [window("w", 3)], "tokens": 3, "digest": ""}
    with pytest.raises(error):
        store.put_document(**{**good, **change})
    assert store.collection("notes").revision == 0 and files(store) == before
    assert store.put_document(**good).id == "a"  # type: ignore[arg-type]


def test_an_old_snapshot_finds_its_memory_and_text_gone(store: MemoryStore) -> None:
    add(store, "notes", "a", "hello")
    (record,) = store.snapshot("notes").documents
    store.delete_documents("notes", ["a"])
    with pytest.raises(BlobsMissingError):
        store.get_blob(record.windows[0].key)
    with pytest.raises(TextMissingError, match="text"):
        store.text(record.text_key)
    assert issubclass(TextMissingError, BlobsMissingError)


# Blobs


def test_blobs_wait_for_their_document(store: MemoryStore) -> None:
    store.put_blobs({key_for("a"): memory(1), key_for("b"): memory(2)})
    assert store.has_blobs([key_for("a"), key_for("b"), key_for("c")]) == {key_for("a"), key_for("b")}
    assert store.stats().blobs == 2 and store.verify(repair=True).ok
    store.put_blobs({key_for("a"): memory(3)})
    assert torch.allclose(decode(store.get_blob(key_for("a")))["key"], memory(1)["key"], atol=0.02)
    for bad in ("x", "../" + key_for("a")):
        for action in (
            store.get_blob,
            lambda key: store.has_blobs([key]),
            lambda key: store.put_blobs({key: memory()}),
        ):
            with pytest.raises(InvalidNameError):
                action(bad)


def test_a_bad_blob_among_good_ones_leaves_nothing(store: MemoryStore) -> None:
    bad = memory()
    bad["key"][0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError):
        store.put_blobs({key_for("a"): memory(), key_for("b"): bad})
    assert not list((store.path / "blobs").rglob("*.*")) and store.stats().blobs == 0


def test_two_storages_of_one_key_are_refused(store: MemoryStore) -> None:
    store.put_blobs({key_for("a"): memory()}, storage="float32")
    with pytest.raises(ConfigError, match="float32, not int8"):
        store.put_blobs({key_for("a"): memory()})
    with pytest.raises(ConfigError, match="wants int8"):
        store.put_document("notes", "a", "abc", windows=[window("a", 3)], tokens=1, digest="")


# Room


def test_the_size_limit_holds_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "s", size_limit=5000) as store:
        store.create_collection("notes", fingerprint="f", model={})
        add(store, "notes", "a", "hello")
        used = store.stats().blob_bytes + store.stats().text_bytes
        before = files(store)
        with pytest.raises(StoreFullError, match=rf"{used:,} bytes.*limit of 5,000"):
            store.put_blobs({key_for(str(n)): memory(n, slots=20) for n in range(9)})
        with pytest.raises(StoreFullError):
            store.put_document("notes", "b", "x" * 5000, windows=[window("hello", 5)], tokens=1, digest="")
        assert files(store) == before and store.verify(grace=0).ok
        add(store, "notes", "b", "hello")
        stats = store.stats()
        assert (stats.blob_bytes + stats.text_bytes, stats.size_limit, stats.documents) == (used, 5000, 2)
        store.delete_documents("notes", ["a", "b"])
        add(store, "notes", "c", "x" * 2000, "w")
    with MemoryStore.open(tmp_path / "s", size_limit=0) as full:
        assert full.text(text_key("x" * 2000)) and full.delete_documents("notes", ["c"])


def test_stats_agree_with_the_files(store: MemoryStore) -> None:
    for number in range(3):
        add(store, "notes", f"d{number}", f"text {number}", f"w{number}", "common")
    stats = store.stats()
    assert (stats.collections, stats.documents, stats.windows, stats.blobs, stats.texts) == (1, 3, 6, 4, 3)
    assert (stats.tokens, stats.slots, stats.size_limit) == (18, 48, None)
    for part, size in (("blobs", stats.blob_bytes), ("texts", stats.text_bytes)):
        assert size == sum(path.stat().st_size for path in (store.path / part).rglob("*.*"))
    assert stats.index_bytes > 4096


# Reading only


def test_a_store_opened_for_reading_is_not_changed(store: MemoryStore) -> None:
    record = add(store, "notes", "a", "hello")
    with MemoryStore.open(store.path, read_only=True) as reader:
        assert reader.read_only and reader.document("notes", "a") == record
        assert reader.verify().ok and reader.stats().documents == 1
        actions: list[Callable[[], object]] = [
            lambda: reader.create_collection("x", fingerprint="f", model={}),
            lambda: reader.rename_collection("notes", "x"),
            lambda: reader.drop_collection("notes"),
            lambda: reader.put_blobs({key_for("x"): memory()}),
            lambda: reader.put_document("notes", "b", "hello", windows=record.windows, tokens=1, digest=""),
            lambda: reader.update_document("notes", "a", digest="x"),
            lambda: reader.delete_documents("notes", ["a"]),
            lambda: reader.verify(repair=True),
        ]
        for action in actions:
            with pytest.raises(StoreReadOnlyError):
                action()
        add(store, "notes", "b", "more")
        assert len(reader.documents("notes")) == 2


READ = """
import json, os, sys
path, user = sys.argv[1:]
from rcc_integrations.errors import StoreReadOnlyError
from rcc_integrations.memory import tensor_file  # from where the user may not be able to import it
from rcc_integrations.memory.store import MemoryStore
if user != "0":
    os.setuid(int(user))
try:
    store = MemoryStore.open(path)
except StoreReadOnlyError as error:
    print(json.dumps(["closed", str(error)]))
    sys.exit()
with store:
    record = store.document("notes", "a")
    seen = [store.read_only, store.text(record.text_key), sorted(store.get_blob(record.windows[0].key))]
    try:
        store.delete_documents("notes", ["a"])
    except StoreReadOnlyError:
        print(json.dumps(seen))
"""


@pytest.mark.skipif(os.name == "nt", reason="permissions are of another kind there")
@pytest.mark.parametrize("state", ["closed", "in use", "log only"])
def test_a_folder_that_cannot_be_written_is_read_or_says_why_not(state: str) -> None:
    # Not under tmp_path: that is closed to the user that root has to become here.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = Path(folder, "store")
        store = MemoryStore.open(path)
        store.create_collection("notes", fingerprint="f1", model={})
        add(store, "notes", "a", "hello")
        if state == "closed":
            store.close()
        if state == "log only":
            shutil.copytree(path, path.with_name("copy"), ignore=shutil.ignore_patterns("*-shm"))
            path = path.with_name("copy")
        folders = [path, *(item for item in path.rglob("*") if item.is_dir())]
        for item in folders:
            item.chmod(0o555)
        user = "65534" if os.getuid() == 0 else "0"
        done = subprocess.run(
            [sys.executable, "-c", READ, str(path), user], capture_output=True, text=True, check=False
        )
        for item in folders:
            item.chmod(0o755)
        store.close()
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    if state == "log only":
        assert seen[0] == "closed" and "open and close the store once with write access" in seen[1]
    else:
        assert seen == [True, "hello", ["key.q", "key.scale", "value.q", "value.scale"]]
