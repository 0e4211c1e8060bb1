"""Runs every operation of a store up to each of its I/O calls, where it is killed or fails, and looks at what is left.

`python -m tests.faults.io_points --kills 1000 --errors 200` prints the counts; it needs Linux and a C compiler. Each
point starts from a copy of the same store, in a process of its own that is forked from this one.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("iofault.c")
OLD = Path(__file__).parents[1] / "data" / "store_version_1.zip"
COUNT, KILL_BEFORE, KILL_HALFWAY, FAIL, SHORT_WRITE, FAIL_ALWAYS = range(6)
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EMFILE": errno.EMFILE, "EACCES": errno.EACCES}
#: What a kill may leave for a repair to tidy.
TIDY = {"file-without-row", "leftover", "unreferenced"}

State = dict[str, dict[str, str]]


def open_store(path: Path) -> Any:
    from rcc_integrations.memory.store import MemoryStore

    return MemoryStore.open(path)


def put(store: Any, collection: str, document: str, text: str, *names: str) -> None:
    from tests.memory.conftest import add

    add(store, collection, document, text, *(names or (text,)))


def fill(path: Path) -> None:
    """Make the store that most operations start from."""
    with open_store(path) as store:
        for name in ("notes", "other"):
            store.create_collection(name, fingerprint="f1", model={"base": "tiny", "ratio": 4})
        put(store, "notes", "a", "text of a", "a1", "common")
        put(store, "notes", "b", "text of b", "b1", "common")
        put(store, "other", "c", "text of a", "a1")


def spoil(path: Path) -> None:
    """Leave work for a repair: a broken memory and text, files without rows, counts and a row that are wrong."""
    fill(path)
    from rcc_integrations.memory.index import Index
    from tests.memory.conftest import key_for

    with open_store(path) as store:
        put(store, "other", "d", "text of d", "d1")
        put(store, "other", "e", "text of e", "e1")
        key = store.document("other", "e").text_key
        uid = store.collection("notes").uid
    blob = key_for("d1")
    (path / "blobs" / blob[:2] / f"{blob}.safetensors").write_bytes(b"broken")
    (path / "texts" / key[:2] / f"{key}.txt").write_bytes(b"broken")
    stray = path / "texts" / "cd" / f"{'cd' * 32}.txt"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    index = Index(path / "index")
    with index.write() as rows:
        record = dict(rows.get(f"collection:{uid}"))
        rows.set(f"collection:{uid}", {**record, "tokens": 1})
        rows.set(f"document:{uid}:x", {"id": "x"})
    index.close()


def break_pages(path: Path) -> None:
    """Leave a database that SQLite refuses, with a backup beside it."""
    fill(path)
    database = path / "index" / "cache.db"
    data = bytearray(database.read_bytes())
    data[4096 * 2 : 4096 * 2 + 8] = b"\xff" * 8
    data[4096 * 5 : 4096 * 5 + 8] = b"\xff" * 8
    database.write_bytes(data)


def old(path: Path) -> None:
    with zipfile.ZipFile(OLD) as archive:
        archive.extractall(path)


def repair(path: Path) -> None:
    from rcc_integrations.memory.store import MemoryStore

    MemoryStore.recover(path)
    with open_store(path) as store:
        store.verify(repair=True, grace=0)


def do(action: Callable[[Any], Any]) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with open_store(path) as store:
            action(store)

    return run


def add_new(store: Any) -> None:
    store.create_collection("new", fingerprint="f1", model={"base": "tiny", "ratio": 4})
    put(store, "new", "n", "text of n", "n1", "n2")
    put(store, "notes", "n", "text of n", "n1", "common")


#: For every operation: what it starts from, and what it does.
OPERATIONS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None]]] = {
    "create": (lambda path: None, do(lambda store: None)),
    "add": (fill, do(add_new)),
    "replace": (fill, do(lambda store: put(store, "notes", "b", "another text", "b2", "common"))),
    "rm": (fill, do(lambda store: store.delete_documents("notes", ["a", "b"]))),
    "drop": (fill, do(lambda store: store.drop_collection("notes"))),
    "mv": (fill, do(lambda store: store.rename_collection("notes", "moved"))),
    "repair": (spoil, repair),
    "rebuild": (break_pages, repair),
    "upgrade": (old, do(lambda store: None)),
}


def state(path: Path) -> State:
    """Return the texts of all documents, every memory of which can be read."""
    found: State = {}
    with open_store(path) as store:
        for record in store.collections():
            texts = found.setdefault(record.name, {})
            for document in store.documents(record.name):
                texts[document.id] = store.text(document.text_key)
                for key in document.keys:
                    store.get_blob(key)
    return found


def kept(path: Path) -> set[bytes]:
    """Return the contents of all files of memories and texts, wherever they lie."""
    places = ("blobs", "texts", "lost+found")
    return {file.read_bytes() for place in places for file in (path / place).rglob("*") if file.is_file()}


class Points:
    """The I/O calls of one operation.

    Args:
        name: The operation.
        folder: Where to work.
        library: The loaded shim.
    """

    def __init__(self, name: str, folder: Path, library: ctypes.CDLL) -> None:
        self.name, self.folder, self.library = name, folder, library
        self.make, self.work = OPERATIONS[name]
        self.template = folder / f"{name} template" / "store"
        self.template.parent.mkdir()
        self.make(self.template)
        self.before = self._repaired(self.template) if self.template.exists() else {}
        whole = self._copy("whole")
        self.number, _ = self._child(whole, lambda path: self.work(path), COUNT, 0, 0)
        self.reads, _ = self._child(self._copy("reads"), lambda path: self.work(path), FAIL, 1 << 40, errno.EIO)
        self.after = self._repaired(whole)

    def try_kill(self, at: int, halfway: bool) -> str:
        """Kill the operation at a call; return what is wrong afterwards, nothing if all is well."""
        path = self._copy("kill")
        _, status = self._child(path, self.work, KILL_HALFWAY if halfway else KILL_BEFORE, at, 0)
        if status != -9:
            return f"{self.name} at {at}: ended with {status} instead of the kill"
        return self._judge(path, f"{self.name} killed {'halfway in' if halfway else 'before'} call {at}", None)

    def try_error(self, at: int, kind: str, action: int) -> str:
        """Let a call fail; return what is wrong afterwards."""
        path = self._copy("error")

        def work(path: Path) -> None:
            from rcc_integrations.errors import RCCError

            try:
                self.work(path)
            except RCCError as error:
                sys.stderr.write(f"{type(error).__name__} {error}\n")
                os._exit(3)

        _, status = self._child(path, work, action, at, ERRORS.get(kind, 0))
        told = f"{self.name}, call {at}: {kind}"
        if status not in (0, 3):
            return f"{told}: ended with {status}"
        return self._judge(path, told, status)

    def _judge(self, path: Path, told: str, status: int | None) -> str:
        receiver, sender = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(receiver)
            self.library.iofault_arm(-1, COUNT, 0, b"")
            try:
                fault = self._fault(path, status)
            except BaseException:
                fault = traceback.format_exc()
            os.write(sender, fault.encode()[-4000:])
            os._exit(0)
        os.close(sender)
        with os.fdopen(receiver, "rb") as file:
            fault = file.read().decode()
        os.waitpid(process, 0)
        return f"{told}: {fault}" if fault else ""

    def _fault(self, path: Path, status: int | None) -> str:
        """Look at what is left; return what is wrong with it."""
        if self.name in ("repair", "rebuild"):
            lost = kept(self.template) - kept(path)
            if lost:
                return f"lost {lost}"
            found = self._repaired(path)
            return "" if found == self.after else f"after another repair: {found} instead of {self.after}"
        if path.exists():
            with open_store(path) as store:
                report = store.verify(grace=0)
                kinds = {problem.kind for problem in report.problems}
                if report.damaged or not kinds <= TIDY:
                    return f"left {report.problems}"
        found = state(path) if path.exists() else {}
        allowed = [self.before, self.after]
        if self.name == "add":
            # Two documents and a collection come one after the other.
            allowed += [{**self.before, "new": {}}, {**self.before, "new": {"n": "text of n"}}]
        if status == 0 and found != self.after:
            return f"reported as done, and is {found}"
        if found not in allowed:
            return f"is {found}, which is neither before nor after"
        if found != self.after:
            self.work(path)
        with open_store(path) as store:
            store.verify(repair=True, grace=0)
            if store.verify(grace=0).problems:
                return f"is not whole after a repair: {store.verify(grace=0).problems}"
        return "" if state(path) == self.after else f"done again it is {state(path)}"

    def _repaired(self, path: Path) -> State:
        """Return what is in a store once it is repaired; of a copy."""
        copy = self._copy("repaired", path)

        from rcc_integrations.errors import StoreError
        from rcc_integrations.memory.store import MemoryStore

        MemoryStore.recover(copy)
        found: State = {}
        with open_store(copy) as store:
            store.verify(repair=True, grace=0)
            for record in store.collections():
                texts = found.setdefault(record.name, {})
                for document in store.documents(record.name):
                    try:
                        texts[document.id] = store.text(document.text_key)
                    except StoreError as error:
                        texts[document.id] = type(error).__name__
        return found

    def _copy(self, name: str, source: Path | None = None) -> Path:
        path = self.folder / f"{self.name} {name}" / "store"
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir()
        source = source or self.template
        if source.exists():
            shutil.copytree(source, path)
        return path

    def _child(self, path: Path, work: Callable[[Path], None], action: int, at: int, error: int) -> tuple[int, int]:
        """Run in a process of its own; return how many calls it made and how it ended."""
        receiver, sender = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(receiver)
            code = 1
            try:
                self.library.iofault_arm(at, action, error, str(path.parent).encode())
                work(path)
                code = 0
            except BaseException:
                self.library.iofault_arm(-1, COUNT, 0, b"")
                traceback.print_exc()
            finally:
                calls = self.library.iofault_calls()
                self.library.iofault_arm(-1, COUNT, 0, b"")
                os.write(sender, str(calls).encode())
                os._exit(code)
        os.close(sender)
        with os.fdopen(receiver, "rb") as file:
            calls = int(file.read() or 0)
        _, status = os.waitpid(process, 0)
        return calls, os.waitstatus_to_exitcode(status)


def points(total: int, limits: dict[str, int], seed: int) -> list[tuple[str, int]]:
    """Spread so many points over the calls of all operations; more than there are come again at random."""
    every = [(name, at) for name, number in limits.items() for at in range(1, number + 1)]
    chance = random.Random(seed)
    if total <= len(every):
        # A quarter for making a store, where it is most fragile; the rest by chance.
        first = chance.sample([point for point in every if point[0] == "create"], min(total // 4, limits["create"]))
        chosen = first + chance.sample(sorted(set(every) - set(first)), total - len(first))
        chance.shuffle(chosen)
        return chosen
    return every + chance.choices(every, k=total - len(every))


def run(kills: int, errors: int, folder: Path, library: ctypes.CDLL, seconds: float = 1e9) -> dict[str, Any]:
    """Try all points, or as many as the time allows; return the counts and what went wrong."""
    deadline = time.monotonic() + seconds
    operations = {name: Points(name, folder, library) for name in OPERATIONS}
    faults: list[str] = []
    counts: Counter[str] = Counter()
    limits = {name: each.number for name, each in operations.items()}
    for number, (name, at) in enumerate(points(kills, limits, 1) if kills else []):
        if time.monotonic() > deadline:
            break
        fault = operations[name].try_kill(at, halfway=number >= sum(limits.values()) or number % 2 == 1)
        counts[f"kill {name}"] += 1
        faults += [fault] if fault else []
    chance = random.Random(2)
    reads = {name: each.reads for name, each in operations.items()}
    for name, at in chance.sample([(n, a) for n, number in reads.items() for a in range(1, number + 1)], errors):
        if time.monotonic() > deadline + seconds:
            break
        kind = chance.choice([*ERRORS, "short"])
        always = kind != "short" and chance.random() < 0.5
        action = SHORT_WRITE if kind == "short" else FAIL_ALWAYS if always else FAIL
        fault = operations[name].try_error(min(at, limits[name]) if kind == "short" else at, kind, action)
        counts[f"{kind}{' from then on' if always else ''}"] += 1
        faults += [fault] if fault else []
    tried = sum(number for name, number in counts.items() if name.startswith("kill "))
    return {
        "calls": limits,
        "counts": dict(sorted(counts.items())),
        "kills": tried,
        "errors": counts.total() - tried,
        "faults": faults,
    }


def compiled(folder: Path) -> Path | None:
    """Compile the shim; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    library = folder / "iofault.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def main() -> None:
    """Run this module again with the shim in front of libc."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--errors", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1e9, help="the most time for kills, and as much for errors")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if "IOFAULT" not in os.environ:
            library = compiled(Path(name))
            if library is None:
                raise SystemExit("no C compiler, or not Linux")
            environment = {**os.environ, "LD_PRELOAD": str(library), "IOFAULT": str(library)}
            done = subprocess.run([sys.executable, "-m", __spec__.name, *sys.argv[1:]], env=environment, check=False)
            raise SystemExit(done.returncode)
        import torch

        torch.set_num_threads(1)
        shim = ctypes.CDLL(os.environ["IOFAULT"])
        shim.iofault_calls.restype = ctypes.c_long
        shim.iofault_arm.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_char_p]
        result = run(chosen.kills, chosen.errors, Path(name), shim, chosen.seconds)
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        raise SystemExit(bool(result["faults"]))


if __name__ == "__main__":
    main()
