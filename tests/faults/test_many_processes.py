"""Eight processes at once on one store, against a model of what must be there.

By default 20 operations each, as 200 would take a minute. The long form: `python -m pytest --slow
tests/faults/test_many_processes.py`, 200 and then 2,000 each.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

from rcc_integrations.errors import (
    BlobsMissingError,
    ConfigError,
    EmptyCollectionError,
    RCCError,
    UnknownCollectionError,
)
from rcc_integrations.reader.reader import RCCReader
from tests.faults.support import open_reader, start, text_of

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts processes by forking")

SHARED = ("left", "right")
#: Names that everyone wants for a collection of its own.
WANTED = ("wanted", "wanted too")
#: What may come of two processes wanting different things at once.
CONFLICTS = (ConfigError, EmptyCollectionError, UnknownCollectionError)


class Worker:
    """Changes its own documents in shared collections and in one of its own, and remembers what must be there."""

    def __init__(self, reader: RCCReader, number: int) -> None:
        self.reader, self.number, self.chance = reader, number, random.Random(number)
        self.own = f"own {number}"
        self.texts: dict[tuple[str, str], str] = {}
        self.conflicts: Counter[str] = Counter()

    def step(self) -> None:
        name = self.chance.choice([*SHARED, "own"])
        document = f"{self.number}-{self.chance.randrange(4)}"
        collection = self.own if name == "own" else name
        todo = self.chance.random()
        if todo < 0.45:
            text = text_of(self.chance, self.chance.randrange(1, 4))
            self.reader.add(collection, {document: text})
            self.texts[name, document] = text
        elif todo < 0.6:
            if (name, document) in self.texts:
                self.reader.delete(collection, [document])
                del self.texts[name, document]
        elif todo < 0.75:
            self.rename()
        elif todo < 0.9:
            answer = self.reader.ask(collection, "Which boat holds fish?", max_new_tokens=1, max_windows=2)
            assert 1 <= answer.usage.windows <= 2
        else:
            self.look(self.chance.choice(WANTED))
        for (home, mine), text in self.texts.items():
            if home == name and mine == document:
                assert self.reader.text(self.own if home == "own" else home, mine) == text

    def rename(self) -> None:
        new = self.chance.choice([*WANTED, f"own {self.number}", f"spare {self.number}"])
        self.reader.rename(self.own, new)
        self.own = new

    def look(self, collection: str) -> None:
        """Ask a collection that is another's, while that one changes and renames it."""
        answer = self.reader.ask(collection, "Which keeper counts?", max_new_tokens=1)
        assert answer.collection == collection

    def work(self, operations: int) -> None:
        for _ in range(operations):
            try:
                self.step()
            except CONFLICTS as error:
                self.conflicts[type(error).__name__] += 1


def work(path: Path, number: int, operations: int, result: Path) -> None:
    with open_reader(path) as reader:
        worker = Worker(reader, number)
        failure = ""
        try:
            worker.work(operations)
        except (RCCError, AssertionError) as error:
            failure = f"{type(error).__name__}: {error}"
        rows = [[worker.own if home == "own" else home, id, text] for (home, id), text in worker.texts.items()]
        result.write_text(json.dumps([failure, worker.own, rows, worker.conflicts]))


def watch(reader: RCCReader) -> None:
    """Check that what is seen is whole: counters agree, and what is named is there or the snapshot is old."""
    snapshot = reader.store.snapshot(random.choice(SHARED))
    assert snapshot.collection.documents == len(snapshot.documents)
    assert snapshot.collection.windows == sum(len(record.windows) for record in snapshot.documents)
    for record in snapshot.documents:
        try:
            assert len(reader.store.text(record.text_key)) == record.characters
            for window in record.windows:
                reader.store.get_blob(window.key)
        except BlobsMissingError:
            again = reader.store.snapshot(snapshot.collection.name)
            assert again.collection.revision != snapshot.collection.revision


@pytest.mark.parametrize(
    "operations",
    [20, *(pytest.param(number, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]) for number in (200, 2000))],
)
def test_eight_processes_leave_what_each_of_them_must_have_left(tmp_path: Path, operations: int) -> None:
    path = tmp_path / "store"
    with open_reader(path) as reader:
        for name in (*SHARED, *(f"own {number}" for number in range(8))):
            reader.add(name, {"first": text_of(random.Random(1))})
    results = [tmp_path / f"{number}.json" for number in range(8)]
    running = [start(work, path, number, operations, result) for number, result in enumerate(results)]
    with open_reader(path, read_only=True) as reader:
        while any(process.is_alive() for process in running):
            watch(reader)
            time.sleep(0.05)
    assert [process.exitcode for process in running] == [0] * 8
    found = [json.loads(result.read_text()) for result in results]
    assert [failure for failure, *_ in found if failure] == []
    expected = {(home, id): text for _, _, rows, _ in found for home, id, text in rows}
    homes = {*SHARED, *(own for _, own, _, _ in found)}
    with open_reader(path) as reader:
        assert {record.name for record in reader.collections()} == homes
        there = {(home, one.id): reader.text(home, one.id) for home in homes for one in reader.documents(home)}
        first = text_of(random.Random(1))
        assert there == {**expected, **{(home, "first"): first for home in homes}}
        report = reader.verify()
        assert report.problems == () and report.documents == len(there)
        assert reader.verify(repair=True, grace=0).ok and reader.verify(grace=0).problems == ()
        for home in homes:
            answer = reader.ask(home, "Which boat?", max_new_tokens=1)
            assert answer.usage.windows_in_collection == sum(len(one.windows) for one in reader.documents(home))
