"""Stores of many documents: adding what is there already, opening, listing, dropping."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.performance.common import best, row, seconds

_MODEL = {"base": "smollm2-135m-instruct", "ratio": 4}


def unchanged_folder() -> list[dict[str, Any]]:
    """Measure `rcc add` of 1,000 files that are in the store as they are (with memories made up; none is read)."""
    with tempfile.TemporaryDirectory() as place:
        folder, store = Path(place, "documents"), Path(place, "memory")
        _write_and_store(folder, store)
        command = [sys.executable, "-m", "rcc_integrations.cli", "--store", str(store), "add", "many", str(folder)]
        took = []
        for _ in range(3):
            begun = time.perf_counter()
            done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
            took.append(time.perf_counter() - begun)
            assert len(json.loads(done.stdout)["unchanged"]) == 1000, done.stdout
        whole, inside = min(took), best(lambda: _add(folder, store))
    return [
        row(
            "adding an unchanged folder of 1,000 documents, the whole command",
            whole,
            f"{whole:.2f} s",
            "< 2 s",
            whole < 2,
        ),
        row("… in a running process", inside, f"{inside:.2f} s", "< 2 s", inside < 2),
    ]


def many_documents() -> list[dict[str, Any]]:
    """Measure opening a store of 10,000 documents and listing them, and dropping them all."""
    from rcc_integrations import MemoryStore

    with tempfile.TemporaryDirectory() as place:
        with MemoryStore.open(place) as store:
            store.create_collection("many", fingerprint="f" * 32, model=_MODEL)
            window = _window(store, "shared")
            for number in range(10_000):
                _put(store, f"folder/document-{number:05}.md", f"Document {number % 100} of the store.", window)

        def listing() -> None:
            with MemoryStore.open(place) as store:
                store.collections()
                assert len(store.documents("many")) == 10_000

        took = best(listing)
        command = [sys.executable, "-m", "rcc_integrations.cli", "--store", place, "ls", "--json"]
        whole = best(lambda: subprocess.run(command, capture_output=True, check=True))
        with MemoryStore.open(place) as store:
            dropped = seconds(lambda: store.drop_collection("many"))
    return [
        row("opening a store of 10,000 documents and listing them", took, f"{took:.2f} s", "< 1 s", took < 1),
        row("… `rcc ls` on it, the whole command", whole, f"{whole:.2f} s"),
        row("… dropping the collection", dropped, f"{dropped:.2f} s"),
    ]


def _write_and_store(folder: Path, place: Path) -> None:
    from rcc_integrations import MemoryStore
    from rcc_integrations.files import find_files

    folder.mkdir()
    for number in range(1000):
        (folder / f"{number:04}.md").write_text(f"# Note {number}\n\nRoom {number} is on floor {number % 9}.\n" * 20)
    with MemoryStore.open(place) as store:
        store.create_collection("many", fingerprint="f" * 32, model=_MODEL)
        window = _window(store, "shared")
        for file in find_files([str(folder)])[0]:
            document = file.read()
            _put(store, document.id, document.text, window, document.digest, document.metadata)


def _window(store: Any, name: str) -> Any:
    """Store a memory of no meaning."""
    import torch

    from rcc_integrations.memory.records import WindowRecord

    key = hashlib.blake2b(name.encode(), digest_size=32).hexdigest()
    store.put_blobs({key: {"key": torch.ones(1, 1, 4, 4), "value": torch.ones(1, 1, 4, 4)}})
    return WindowRecord(key, 0, 10, 4, 1)


def _put(store: Any, id: str, text: str, window: Any, digest: str = "", metadata: Any = None) -> None:
    store.put_document("many", id, text, windows=[window], tokens=4, digest=digest, metadata=metadata)


def _add(folder: Path, place: Path) -> None:
    from rcc_integrations import RCCReader
    from rcc_integrations.files import find_files

    with RCCReader.open(place) as reader:
        assert len(reader.add("many", find_files([str(folder)])[0]).unchanged) == 1000
