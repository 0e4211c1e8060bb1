"""Damages every kind of file of a store, by flipped bits, overwritten runs and truncation, and repairs it after each.

`python -m tests.faults.damage_points --count 10000` prints the counts. After each damage the store is recovered and
repaired, all that is there is read and compared, what was lost is looked for in the report, and everything is added
again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rcc_integrations.errors import RCCError
from rcc_integrations.memory.quantization import decode
from rcc_integrations.memory.report import VerifyReport
from rcc_integrations.memory.store import MemoryStore
from tests.memory.conftest import add, memory

#: Collection, document, text, names of its windows.
DOCUMENTS = [
    ("notes", "a.md", "text of a", ("a1", "common")),
    ("notes", "b.md", "text of b", ("b1", "common")),
    ("notes", "c/ünï.md", "日本語のテキスト 😀", ("c1",)),
    ("notes", "d.md", "text of a", ("a1",)),
    ("other", "a.md", "text of a", ("a1", "own")),
    ("other", "long.md", "word " * 3000, tuple(f"l{number}" for number in range(60))),
]
KINDS = ("blob", "text", "index", "log", "backup", "marker")
#: Problems that say that documents are missing, where their names are lost with their rows.
UNNAMED = {"document-lost", "index-behind", "log", "file-without-row", "collection", "index"}


def fill(store: MemoryStore) -> None:
    """Put all documents, as whoever adds the same sources again."""
    for name in ("notes", "other"):
        store.create_collection(name, fingerprint="f1", model={"base": "tiny", "ratio": 4})
    for collection, document, text, names in DOCUMENTS:
        add(store, collection, document, text, *names, digest=f"digest of {document}", title=document)


def build(path: Path) -> Path:
    """Make the store: closed, with a backup."""
    with MemoryStore.open(path) as store:
        fill(store)
    return path


def build_open(path: Path) -> Path:
    """Make the store as a killed process leaves it: its last changes are in the log alone."""
    with MemoryStore.open(path.with_name("open")) as store:
        for name in ("notes", "other"):
            store.create_collection(name, fingerprint="f1", model={"base": "tiny", "ratio": 4})
    store = MemoryStore.open(path.with_name("open"))
    fill(store)
    shutil.copytree(path.with_name("open"), path)
    store.close()
    return path


def damage(path: Path, kind: str, chance: random.Random) -> str:
    """Damage one file of a kind; return how."""
    files = {
        "blob": lambda: (path / "blobs").rglob("*.safetensors"),
        "text": lambda: (path / "texts").rglob("*.txt"),
        "index": lambda: [path / "index" / "cache.db"],
        "log": lambda: [path / "index" / "cache.db-wal"],
        "backup": lambda: [path / "backup" / "1" / "cache.db"],
        "marker": lambda: [path / "store.json"],
    }
    file = chance.choice(sorted(files[kind]()))
    data = bytearray(file.read_bytes())
    how = chance.choice(("flip", "flip", "two flips", "overwrite", "truncate", "empty", "gone"))
    if how == "gone":
        file.unlink()
    elif how == "empty":
        file.write_bytes(b"")
    else:
        for _ in range({"flip": 1, "two flips": 2}.get(how, 0)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        at = chance.randrange(len(data))
        if how == "overwrite":
            length = chance.choice((4, 64, 4096))
            data[at : at + length] = bytes([chance.randrange(256)]) * len(data[at : at + length])
        file.write_bytes(data[:at] if how == "truncate" else data)
    return how


def read(store: MemoryStore) -> dict[tuple[str, str], str]:
    """Return all documents that can be read whole, and fail on anything that is read wrongly."""
    texts = {(collection, document): text for collection, document, text, _ in DOCUMENTS}
    made = {(collection, document): names for collection, document, _, names in DOCUMENTS}
    found = {}
    for record in store.collections():
        for document in store.documents(record.name):
            where = record.name, document.id
            try:
                text = store.text(document.text_key)
                memories = [decode(store.get_blob(window.key)) for window in document.windows]
            except RCCError:
                continue
            assert text == texts[where] and document.metadata == {"title": document.id}, f"wrong text of {where}"
            for name, tensors in zip(made[where], memories, strict=True):
                good = memory(len(name))
                assert all((tensors[part] - good[part]).abs().max() < 0.05 for part in good), f"wrong memory {name}"
            found[where] = text
    return found


def affected(path: Path, before: set[str]) -> bool:
    """Tell whether a file of a memory or text was damaged, so that documents of it may be lost."""
    return {str(file) for part in ("blobs", "texts") for file in (path / part).rglob("*.*")} != before


def one(path: Path, kind: str, chance: random.Random, counts: Counter[str]) -> str:
    """Damage and repair one store; return what is wrong with the result."""
    how = damage(path, kind, chance)
    counts[f"{kind}, {how}"] += 1
    try:
        problems = list(MemoryStore.recover(path))
        with MemoryStore.open(path) as store:
            first: VerifyReport = store.verify(repair=True, grace=0)
            problems += first.problems
            there = read(store)
            named = {(item.collection, item.document) for item in first.damaged}
            missing = {(collection, document) for collection, document, _, _ in DOCUMENTS} - there.keys()
            if missing - named and not {problem.kind for problem in problems} & UNNAMED:
                return f"unnamed: {missing - named}, told: {problems}"
            if kind in ("index", "backup", "marker") and missing:
                return f"sound documents lost: {missing}, told: {problems}"
            counts["documents that had to be added again"] += len(missing)
            fill(store)
            store.verify(repair=True, grace=0)
            left = store.verify(grace=0).problems
            if left:
                return f"after adding again: {left}"
            if len(read(store)) != len(DOCUMENTS):
                return f"after adding again there is {sorted(read(store))}"
    except AssertionError as error:
        return f"wrong on use: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def run(count: int, folder: Path, seed: int = 1, seconds: float = 1e9) -> dict[str, Any]:
    """Damage so many stores, or as many as the time allows; return the counts and what went wrong."""
    deadline = time.monotonic() + seconds
    closed, killed = build(folder / "closed"), build_open(folder / "killed")
    counts: Counter[str] = Counter()
    faults = []
    done = 0
    for number in range(count):
        if time.monotonic() > deadline:
            break
        done += 1
        chance = random.Random(f"{seed}:{number}")
        kind = KINDS[number % len(KINDS)]
        path = shutil.copytree(killed if kind == "log" else closed, folder / "store")
        fault = one(path, kind, chance, counts)
        if fault:
            faults.append(f"{number} ({kind}): {fault[:1500]}")
        shutil.rmtree(path)
    return {"count": done, "counts": dict(sorted(counts.items())), "faults": faults}


def main() -> None:
    """Run as many as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9, help="the most time")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        result = run(chosen.count, Path(folder), chosen.seed, chosen.seconds)
    sys.stdout.write(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    raise SystemExit(bool(result["faults"]))


if __name__ == "__main__":
    main()
