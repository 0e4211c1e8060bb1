from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from rcc_integrations.errors import BlobsMissingError, RCCError, UnknownCollectionError, UnknownDocumentError
from rcc_integrations.memory.quantization import decode
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.memory.texts import text_key
from tests.memory.conftest import add, files, key_for, memory, window

NAMES = ("left", "right")


def put(store: MemoryStore, collection: str, document: str, text: str, names: list[str]) -> None:
    """Put a document as the reader does: compress again what another process removed meanwhile."""
    windows = [window(name, len(text)) for name in names]
    while True:
        missing = {item.key for item in windows} - store.has_blobs(item.key for item in windows)
        store.put_blobs({key_for(name): memory(len(name)) for name in names if key_for(name) in missing})
        try:
            store.put_document(collection, document, text, windows=windows, tokens=len(text), digest=text)
            return
        except BlobsMissingError:
            continue


def churn(path: Path, number: int, rounds: int) -> None:
    """Add, replace and delete documents, sharing windows and texts with the others; end in a known state."""
    torch.set_num_threads(1)
    chance = random.Random(number)
    with MemoryStore.open(path) as store:
        for _ in range(rounds):
            collection, document = chance.choice(NAMES), f"{number}-{chance.randrange(3)}"
            shared = [f"window {chance.randrange(4)}" for _ in range(2)]
            try:
                if chance.random() < 0.3:
                    store.delete_documents(collection, [document])
                else:
                    put(store, collection, document, f"text {chance.randrange(4)}", shared)
                if chance.random() < 0.15:
                    store.rename_collection(f"spare {number}", f"spare {number}'")
                    store.rename_collection(f"spare {number}'", f"spare {number}")
                store.snapshot(collection)
            except UnknownDocumentError:
                continue
        for collection in NAMES:
            held = [record.id for record in store.documents(collection) if record.id.startswith(f"{number}-")]
            store.delete_documents(collection, held)
            put(store, collection, f"{number}-end", f"end {number % 2}", ["common", f"own {number}"])


def test_four_processes_at_once_end_where_they_should(tmp_path: Path) -> None:
    with MemoryStore.open(tmp_path / "store") as store:
        for name in (*NAMES, *(f"spare {number}" for number in range(4))):
            store.create_collection(name, fingerprint="f", model={})
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=churn, args=(tmp_path / "store", number, 40)) for number in range(4)]
        for process in processes:
            process.start()
        looks = 0
        while any(process.is_alive() for process in processes):
            looks += watch(store)
        for process in processes:
            process.join()
            assert process.exitcode == 0
        assert looks > 0
        for name in NAMES:
            records = {record.id: record for record in store.documents(name)}
            assert sorted(records) == [f"{number}-end" for number in range(4)]
            for number in range(4):
                record = records[f"{number}-end"]
                assert store.text(record.text_key) == f"end {number % 2}"
                assert record.keys == {key_for("common"), key_for(f"own {number}")}
        report = store.verify()
        assert report.ok and report.documents == 8, report
        leftover = files(store) - {
            f"{key_for(name)}.safetensors" for name in ("common", *map("own {}".format, range(4)))
        }
        unused = {f"{key_for(f'window {number}')}.safetensors" for number in range(4)}
        assert leftover - unused == {f"{text_key(f'end {number}')}.txt" for number in range(2)}
        assert store.verify(repair=True, grace=0).ok and store.stats().blobs == 5


def watch(store: MemoryStore) -> int:
    """Check that what is seen is whole: counters agree, and what is named is there or the snapshot is old."""
    snapshot = store.snapshot(random.choice(NAMES))
    assert snapshot.collection.documents == len(snapshot.documents)
    assert snapshot.collection.windows == sum(len(record.windows) for record in snapshot.documents)
    assert snapshot.collection.slots == sum(record.slots for record in snapshot.documents)
    for record in snapshot.documents:
        try:
            assert store.text(record.text_key) == record.digest
            for item in record.windows:
                assert decode(store.get_blob(item.key))["key"].shape == (3, 2, 8, 4)
        except BlobsMissingError:
            again = store.snapshot(snapshot.collection.name)
            assert again.collection.revision != snapshot.collection.revision
    return len(snapshot.documents)


def test_threads_share_one_store(store: MemoryStore) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(6):
                put(store, "notes", f"{number}-{step % 2}", f"text {step}", [f"w{step}", "common"])
                store.delete_documents("notes", [f"{number}-{step % 2}"])
            put(store, "notes", f"{number}", "same", ["common"])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(record.id for record in store.documents("notes")) == ["0", "1", "2", "3"]
    assert store.collection("notes").revision == 4 * 13 and store.verify().ok


def test_processes_that_make_a_store_at_once_make_one(tmp_path: Path) -> None:
    program = (
        "import sys; from rcc_integrations.memory.store import MemoryStore\n"
        "with MemoryStore.open(sys.argv[1]) as store:\n"
        "    print(store.id, store.create_collection('c', fingerprint='f', model={}).uid)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "s")], stdout=subprocess.PIPE) for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in running}) == 1
    assert [process.returncode for process in running] == [0] * 4


def endless(path: Path, ready: str) -> None:
    """Put, replace and delete documents until killed."""
    torch.set_num_threads(1)
    with MemoryStore.open(path) as store:
        store.create_collection("notes", fingerprint="f", model={})
        Path(ready).touch()
        step = 0
        while True:
            put(store, "notes", f"d{step % 5}", f"text {step % 7}", [f"w{step % 9}", f"v{step % 4}"])
            if step % 3 == 2:
                store.delete_documents("notes", [f"d{step % 5}"])
            step += 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked children")
def test_a_process_killed_at_any_point_leaves_a_whole_store(tmp_path: Path) -> None:
    chance = random.Random(7)
    for number in range(10):
        ready = tmp_path / f"ready {number}"
        child = os.fork()
        if child == 0:
            try:
                endless(tmp_path / "store", str(ready))
            finally:
                os._exit(1)
        deadline = time.monotonic() + 20
        while not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.12))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        with MemoryStore.open(tmp_path / "store") as store:
            report = store.verify()
            assert not report.damaged and {item.kind for item in report.problems} <= {"file-without-row", "leftover"}
            for record in store.documents("notes"):
                assert record.text_key == text_key(record.digest) and store.text(record.text_key) == record.digest
                assert store.has_blobs(record.keys) == record.keys
            assert store.verify(repair=True, grace=0).ok
            assert store.verify(grace=0).problems == ()


def test_a_repair_beside_writers_takes_nothing_from_them(store: MemoryStore) -> None:
    stop = threading.Event()
    errors: list[BaseException] = []

    def repair() -> None:
        with MemoryStore.open(store.path) as other:
            while not stop.is_set():
                try:
                    other.verify(repair=True)
                except BaseException as error:
                    errors.append(error)
                    return

    thread = threading.Thread(target=repair)
    thread.start()
    for step in range(30):
        put(store, "notes", f"d{step % 3}", f"text {step}", [f"w{step % 4}"])
    stop.set()
    thread.join()
    assert not errors
    assert [record.id for record in store.documents("notes")] == ["d0", "d1", "d2"] and store.verify(
        grace=0
    ).ok is not None
    assert store.verify().ok


def test_errors_of_races_are_ours(store: MemoryStore) -> None:
    add(store, "notes", "a", "x")
    with MemoryStore.open(store.path) as other:
        other.drop_collection("notes")
    with pytest.raises(UnknownCollectionError) as error:
        store.documents("notes")
    assert isinstance(error.value, RCCError)
