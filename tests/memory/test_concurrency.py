from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from rcc_integrations.errors import BlobsMissingError, RCCError, UnknownCollectionError
from rcc_integrations.memory.store import MemoryStore
from tests.memory.conftest import add, key_for, memory, window


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
