"""Disks that fill up, folders that cannot be written or vanish, clocks that jump.

The long form: `python -m pytest --slow tests/faults/test_folders.py`.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations.errors import StoreError, StoreReadOnlyError
from rcc_integrations.memory.store import MemoryStore
from tests.faults.support import open_reader, start, text_of
from tests.memory.conftest import add, key_for, memory

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="limits and users are those of Unix")

STEPS = [3, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]


def fill(path: Path, journal: Path, texts: dict[str, str], limit: Callable[[], None]) -> None:
    """Add documents one by one until there is no room; write down which were reported done, and the error."""
    limit()
    done: list[str] = []
    error = ""
    try:
        with open_reader(path) as reader:
            for name, text in texts.items():
                reader.add("notes", {name: text})
                done.append(name)
    except StoreError as found:
        error = f"{type(found).__name__}: {found}"
    journal.write_text(json.dumps([done, error]))


def check_after(path: Path, texts: dict[str, str], done: list[str]) -> None:
    """With room again: whole, what was reported is there, and adding goes on."""
    with open_reader(path) as reader:
        # Unused memories stay for whoever goes on from them.
        assert {problem.kind for problem in reader.verify().problems} <= {"file-without-row"}
        there = [record.id for record in reader.documents("notes")] if reader.collections() else []
        assert there == done
        for name in there:
            assert reader.text("notes", name) == texts[name]
        reader.add("notes", texts)
        assert reader.verify(repair=True, grace=0).ok and len(reader.documents("notes")) == len(texts)
        assert not list(path.rglob(".writing-*"))


@pytest.mark.parametrize("steps", STEPS)
def test_files_that_may_not_grow(tmp_path: Path, steps: int) -> None:
    texts = {f"d{number}": text_of(random.Random(number), 4) for number in range(6)}
    errors = set()
    for number in range(steps):
        path, journal = tmp_path / f"store {number}", tmp_path / f"{number}.json"
        open_reader(path).close()
        # The log of the index grows past it after some documents.
        limit = 100_000 + number * 240_000 // steps
        process = start(fill, path, journal, texts, _SmallFiles(limit))
        process.join()
        assert process.exitcode == 0
        done, error = json.loads(journal.read_text())
        assert error.startswith("Store") or len(done) == len(texts)
        errors.add(error)
        check_after(path, texts, done)
    assert errors - {""}


class _SmallFiles:
    """Lets this process write no file beyond a size."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self) -> None:
        import resource

        # Without it the signal would end the process before the write can fail.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


class _SmallDisk:
    """Puts a folder on a small file system that this process alone sees."""

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size = path, size

    def __call__(self) -> None:
        ids = os.getuid(), os.getgid()
        libc = ctypes.CDLL(None, use_errno=True)
        new_user, new_mounts, private = 0x10000000, 0x20000, 0x44000
        if libc.unshare(new_user | new_mounts):
            raise SystemExit(77)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {ids[0]} 1")
        Path("/proc/self/gid_map").write_text(f"0 {ids[1]} 1")
        options = f"size={self.size}".encode()
        if libc.mount(None, b"/", None, private, None) or libc.mount(
            b"tmpfs", str(self.path).encode(), b"tmpfs", 0, options
        ):
            raise SystemExit(77)


def fill_small(path: Path, kept: Path, journal: Path, texts: dict[str, str], size: int) -> None:
    fill(path, journal, texts, _SmallDisk(path, size))
    shutil.copytree(path, kept)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "unshare"), reason="Linux has it")
@pytest.mark.parametrize("steps", STEPS)
def test_a_disk_that_fills_up(tmp_path: Path, steps: int) -> None:
    texts = {f"d{number}": text_of(random.Random(number), 4) for number in range(6)}
    full = 0
    for number in range(steps):
        path, kept, journal = (tmp_path / f"{name} {number}" for name in ("store", "kept", "journal"))
        path.mkdir()
        process = start(fill_small, path, kept, journal, texts, 100_000 + number * 400_000 // steps)
        process.join()
        if process.exitcode == 77:
            pytest.skip("this machine does not let a process have a file system of its own")
        assert process.exitcode == 0
        done, error = json.loads(journal.read_text())
        assert error.startswith("StoreFullError") or "disk I/O" in error or len(done) == len(texts), error
        full += error.startswith("StoreFullError")
        check_after(kept, texts, done)
    assert full > 0


def fill_and_empty(path: Path, journal: Path, size: int, how: str) -> None:
    """Fill a small disk to its last byte, then remove."""
    _SmallDisk(path.parent, size)()
    said: list[str] = []
    with MemoryStore.open(path) as store:
        store.create_collection("notes", fingerprint="f1", model={})
        number = 0
        try:
            while True:
                add(store, "notes", f"d{number}", f"text {number} " * 2000, f"m{number}")
                number += 1
        except StoreError as error:
            said.append(type(error).__name__)
        filler = path.parent / "filler"
        with open(filler, "wb", buffering=0) as file:
            for block in (1 << 16, 1 << 12, 1):
                try:
                    while file.write(bytes(block)) == block:
                        pass
                except OSError:
                    continue
    with MemoryStore.open(path) as store:
        if how == "documents":
            store.delete_documents("notes", [f"d{place}" for place in range(number // 2)])
        else:
            store.drop_collection("notes")
        left = len(store.documents("notes")) if how == "documents" else 0
        # The memory of the document that had no room any more is of use to the next try.
        kinds = {problem.kind for problem in store.verify(grace=0).problems} - {"unreferenced"}
        said += [str(sorted(kinds)), str(left), str(number)]
    journal.write_text(json.dumps(said))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "unshare"), reason="Linux has it")
@pytest.mark.parametrize("how", ["documents", "collection"])
def test_a_full_disk_can_be_made_emptier(tmp_path: Path, how: str) -> None:
    journal = tmp_path / "journal"
    (tmp_path / "disk").mkdir()
    process = start(fill_and_empty, tmp_path / "disk" / "store", journal, 8 << 20, how)
    process.join()
    if process.exitcode == 77:
        pytest.skip("this machine does not let a process have a file system of its own")
    assert process.exitcode == 0
    error, problems, left, number = json.loads(journal.read_text())
    assert error == "StoreFullError" and problems == "[]"
    assert int(left) == (int(number) - int(number) // 2 if how == "documents" else 0)


def as_nobody(path: Path, result: Path) -> None:
    """Try everything in a folder that cannot be written."""
    if os.getuid() == 0:
        os.setuid(65534)
    with open_reader(path) as reader:
        answer = reader.ask("notes", "Which boat?", max_new_tokens=2)
        refused = 0
        for change in (
            lambda: reader.add("notes", {"new": "A new text."}),
            lambda: reader.add("more", {"new": "A new text."}),
            lambda: reader.delete("notes", ["d0"]),
            lambda: reader.rename("notes", "x"),
            lambda: reader.drop("notes"),
            lambda: reader.verify(repair=True),
        ):
            try:
                change()
            except StoreReadOnlyError:
                refused += 1
        result.write_text(json.dumps([answer.usage.windows, refused, reader.verify().ok]))


def test_a_folder_that_cannot_be_written_answers_and_refuses_changes() -> None:
    # Not under tmp_path: that is closed to the user that root has to become here.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        path, result = Path(folder, "store"), Path(folder, "result")
        with open_reader(path) as reader:
            reader.add("notes", {"d0": text_of(random.Random(0))})
        before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
        folders = [path, *(item for item in path.rglob("*") if item.is_dir())]
        for item in folders:
            item.chmod(0o555)
        process = start(as_nobody, path, result)
        process.join()
        for item in folders:
            item.chmod(0o755)
        assert process.exitcode == 0
        windows, refused, sound = json.loads(result.read_text())
        assert windows > 0 and refused == 6 and sound
        assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


ACTIONS: dict[str, Callable[[MemoryStore], Any]] = {
    "create": lambda store: store.create_collection("more", fingerprint="f1", model={}),
    "rename": lambda store: store.rename_collection("notes", "other"),
    "drop": lambda store: store.drop_collection("notes"),
    "delete": lambda store: store.delete_documents("notes", ["a"]),
    "update": lambda store: store.update_document("notes", "a", digest="x"),
    "put blobs": lambda store: store.put_blobs({key_for("new"): memory()}),
    "put document": lambda store: add(store, "notes", "b", "hello"),
    "collections": lambda store: store.collections(),
    "snapshot": lambda store: store.snapshot("notes"),
    "stats": lambda store: store.stats(),
    "verify": lambda store: store.verify(),
    "repair": lambda store: store.verify(repair=True),
    "get blob": lambda store: store.get_blob(key_for("hello")),
}


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
def test_a_folder_that_vanishes_is_an_error_and_takes_nothing(tmp_path: Path, how: str) -> None:
    store = MemoryStore.open(tmp_path / "store")
    store.create_collection("notes", fingerprint="f1", model={})
    add(store, "notes", "a", "hello")
    away = tmp_path / "away"
    shutil.move(store.path, away)
    if how == "removed":
        shutil.rmtree(away)
    if how == "replaced":
        with MemoryStore.open(store.path) as other:
            other.create_collection("notes", fingerprint="f1", model={})
            add(other, "notes", "a", "of another store", "hello")
    before = {
        file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and "cache.db-" not in file.name
    }
    for name, action in ACTIONS.items():
        with pytest.raises(StoreError, match="removed or replaced"):
            action(store)
            pytest.fail(name)
    after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and "cache.db-" not in file.name}
    assert before == after
    store.close()
    if how == "moved":
        shutil.move(away, store.path)
        with MemoryStore.open(store.path) as again:
            assert [record.id for record in again.documents("notes")] == ["a"] and again.verify().ok


@pytest.mark.parametrize("jump", [-(10.0**9), 10.0**9])
def test_a_clock_that_jumps_takes_nothing_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """A repair by a process whose clock has jumped, in the midst of adding by another."""
    path, texts, real = tmp_path / "store", {f"d{n}": text_of(random.Random(n), 3) for n in range(4)}, time.time
    with open_reader(path) as reader, MemoryStore.open(path) as other:
        contents, repairs = reader.store._contents, []

        def beside(work: Callable[..., Any]) -> Callable[..., Any]:
            """Repair once, right after the first time that something is done."""

            def first(*arguments: Any) -> Any:
                monkeypatch.undo()
                done = work(*arguments)
                monkeypatch.setattr(time, "time", lambda: real() + jump)
                repairs.append(other.verify(repair=True))
                monkeypatch.undo()
                return done

            return first

        # Between a memory's temporary file and its place; then between memories and their document.
        for number, (holder, name) in enumerate([(contents.blobs.folder, "write_temp"), (contents.blobs, "put")]):
            monkeypatch.setattr(holder, name, beside(getattr(holder, name)))
            batch = {f"{number} {id}": f"{number} {text}" for id, text in texts.items()}
            assert reader.add("notes", batch).added == list(batch) and len(repairs) == number + 1
            assert {id: reader.text("notes", id) for id in batch} == batch
            assert reader.verify().ok
        assert not [file for file in path.rglob(".writing-*") if "lost+found" not in file.parts]
