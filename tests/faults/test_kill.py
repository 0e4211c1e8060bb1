"""Processes killed at random moments while they add, replace and delete.

The long form: `python -m pytest --slow tests/faults/test_kill.py`.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest

from rcc_integrations import RCCReader
from tests.faults.support import open_reader, start, text_of
from tests.memory.conftest import files

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts processes by forking")


def change(path: Path, seed: int, journal: Path) -> None:
    """Add, replace and delete until killed; write down what is begun and what is reported done."""
    chance = random.Random(seed)
    with open_reader(path) as reader, open(journal, "a", buffering=1) as out:

        def tell(*what: object) -> None:
            out.write(json.dumps(what) + "\n")

        there = {record.id for record in reader.documents("notes")}
        tell("ready")
        while True:
            names = [f"d{number}" for number in chance.sample(range(8), 3)]
            if chance.random() < 0.25 and there.issuperset(names):
                tell("begin", dict.fromkeys(names))
                reader.delete("notes", names)
                there.difference_update(names)
                done = names
            else:
                batch = {name: text_of(chance, chance.randrange(2, 7)) for name in names}
                tell("begin", batch)
                seen = [0]

                def note(progress, seen=seen) -> None:
                    # What is told twice was a batch of windows, not a document.
                    if progress.documents > seen[0]:
                        tell("done", progress.document)
                        seen[0] = progress.documents

                reader.add("notes", batch, on_progress=note)
                there.update(names)
                done = []
            for name in done:
                tell("done", name)


class Journal:
    """What may be in the store after a kill: for each document the contents that it may have."""

    def __init__(self) -> None:
        self.allowed: dict[str, set[str | None]] = {}
        self.begun: dict[str, str | None] = {}

    def read(self, path: Path) -> None:
        self.begun = {}
        # A line that the kill cut off told nobody anything.
        for line in path.read_text().split("\n")[:-1]:
            kind, *what = json.loads(line)
            if kind == "begin":
                self.begun = what[0]
                for name, text in self.begun.items():
                    self.allowed.setdefault(name, {None}).add(text)
            elif kind == "done":
                self.allowed[what[0]] = {self.begun[what[0]]}

    def compare(self, reader: RCCReader) -> None:
        there = {record.id: reader.text("notes", record.id) for record in reader.documents("notes")}
        for name, contents in self.allowed.items():
            assert there.get(name) in contents, name
            self.allowed[name] = {there.get(name)}
        assert there.keys() <= self.allowed.keys()


@pytest.mark.parametrize("kills", [10, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_killed_process_loses_nothing_that_it_reported(tmp_path: Path, kills: int) -> None:
    path, chance, journal = tmp_path / "store", random.Random(kills), Journal()
    with open_reader(path) as reader:
        reader.add("notes", {"d0": text_of(chance)})
        journal.allowed["d0"] = {reader.text("notes", "d0")}
    reused = cut_short = 0
    for number in range(kills):
        log = tmp_path / f"{number}.jsonl"
        process = start(change, path, number, log)
        deadline = time.monotonic() + 60
        while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(chance.uniform(0.0, 0.3))
        process.kill()
        process.join()
        assert process.exitcode == -9
        journal.read(log)
        with open_reader(path) as reader:
            cut_short += check(reader, journal)
            reused += resume(reader, journal)
    assert reused > 0 and cut_short > 0


def check(reader: RCCReader, journal: Journal) -> bool:
    """Look at everything; tell whether the kill left something to tidy."""
    found = reader.verify(grace=0)
    assert not found.damaged
    kinds = {problem.kind for problem in found.problems}
    assert kinds <= {"file-without-row", "leftover", "unreferenced"}
    assert reader.verify(repair=True).ok
    journal.compare(reader)
    for record in reader.documents("notes"):
        answer = reader.ask("notes", "Which boat?", documents=[record.id], max_windows=99, max_new_tokens=1)
        assert answer.usage.windows == len(record.windows)
    return bool(kinds)


def resume(reader: RCCReader, journal: Journal) -> int:
    """Add again what was begun; return how many windows were durable although no document had them."""
    batch = {name: text for name, text in journal.begun.items() if text is not None}
    if not batch:
        return 0
    stored = {name.partition(".")[0] for name in files(reader.store)}
    records = {record.id: record for record in reader.documents("notes")}
    used = {key for record in records.values() for key in record.keys}
    # What only the replaced documents have goes with the first of them, though another may have wanted it.
    leaving = {key for name in batch.keys() & records.keys() for key in records[name].keys}
    done = reader.add("notes", batch)
    journal.allowed |= {name: {text} for name, text in batch.items()}
    journal.compare(reader)
    keys = {key for name in done.added + done.replaced for key in reader.store.document("notes", name).keys}
    assert len(keys - stored) <= done.windows_compressed <= len(keys - (stored - leaving))
    assert reader.verify(repair=True, grace=0).ok and reader.verify(grace=0).problems == ()
    return len((keys & stored) - used)
