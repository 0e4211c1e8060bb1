"""Many questions over changing collections in one process, by threads and tasks at once.

The long form: `python -m pytest --slow tests/faults/test_soak.py`.
"""

from __future__ import annotations

import asyncio
import gc
import random
import threading
from collections import Counter
from pathlib import Path

import psutil
import pytest

from rcc_integrations import RCCReader
from rcc_integrations.errors import EmptyCollectionError, GenerationError, UnknownCollectionError, UnknownDocumentError
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.request import Request
from tests.faults.support import open_reader, text_of

CACHE = 1 << 20
#: What may come of a collection that changes while it is asked.
CONFLICTS = (EmptyCollectionError, UnknownCollectionError, UnknownDocumentError)
#: An answer that takes far longer than anyone waits for it here.
LONG = {"max_new_tokens": 700, "min_new_tokens": 700}


class Soak:
    """Asks in every way there is; counts what came of it."""

    def __init__(self, reader: RCCReader, questions: int) -> None:
        self.reader, self.left, self.seen = reader, questions, Counter[str]()
        self.lock = threading.Lock()

    def take(self) -> int | None:
        with self.lock:
            self.left -= 1
            return None if self.left < 0 else self.left

    def note(self, what: str) -> None:
        with self.lock:
            self.seen[what] += 1

    def request(self, chance: random.Random, **options: object) -> Request:
        collection = f"c{chance.randrange(24)}"
        question = f"Which boat holds fish {chance.randrange(50)}?"
        return Request.about(collection, question, {"max_new_tokens": 2, "max_windows": 3, **options})

    def in_thread(self, seed: int) -> None:
        chance = random.Random(seed)
        while (number := self.take()) is not None:
            try:
                if number % 7 == 0:
                    self.reader.submit(self.request(chance, **LONG)).result(timeout=0.05)
                    self.note("not in time")
                elif number % 7 == 1:
                    ticket = self.reader.submit(self.request(chance, **LONG))
                    ticket.cancel()
                    self.stopped(ticket.answer.result(120))
                elif number % 7 == 2:
                    request = self.request(chance)
                    stream = self.reader.stream(request.parts[0].collection, request.question, **LONG)
                    next(stream)
                    stream.close()
                    self.stopped(stream.answer)
                else:
                    self.reader.submit(self.request(chance)).result(timeout=120)
                    self.note("answered")
            except CONFLICTS:
                self.note("conflict")
            except GenerationError:
                assert number % 7 == 0
                self.note("timeout")

    def stopped(self, found: Answer) -> None:
        assert found.finish_reason == "cancelled" and found.usage.answer_tokens < LONG["max_new_tokens"]
        self.note("stopped")

    async def in_task(self, seed: int) -> None:
        chance = random.Random(seed)
        while (number := self.take()) is not None:
            try:
                if number % 5 == 0:
                    task = asyncio.create_task(self.reader.submit(self.request(chance, **LONG)).aresult())
                    await asyncio.sleep(0.02)
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    self.note("cancelled")
                elif number % 5 == 1:
                    async for _ in self.reader.stream_request(self.request(chance), timeout=120):
                        pass
                    self.note("streamed")
                else:
                    await self.reader.submit(self.request(chance)).aresult(timeout=120)
                    self.note("answered")
            except CONFLICTS:
                self.note("conflict")

    async def in_tasks(self) -> None:
        await asyncio.gather(*(self.in_task(100 + number) for number in range(4)))

    def change(self, stop: threading.Event) -> None:
        chance = random.Random(1)
        while not stop.wait(0.02):
            collection = f"c{chance.randrange(24)}"
            if chance.random() < 0.15 and collection in {record.name for record in self.reader.collections()}:
                self.reader.drop(collection)
            else:
                self.reader.add(collection, {f"d{chance.randrange(4)}": text_of(chance)})
            self.note("change")

    def run(self) -> None:
        stop, failures = threading.Event(), list[BaseException]()

        def guarded(work: object, *arguments: object) -> None:
            try:
                work(*arguments)  # type: ignore[operator]
            except BaseException as error:
                failures.append(error)
                self.left = 0

        changing = threading.Thread(target=guarded, args=(self.change, stop))
        asking = [threading.Thread(target=guarded, args=(self.in_thread, number)) for number in range(3)]
        for thread in (changing, *asking):
            thread.start()
        guarded(asyncio.run, self.in_tasks())
        for thread in asking:
            thread.join(300)
        stop.set()
        changing.join(60)
        assert not any(thread.is_alive() for thread in (changing, *asking)), "a deadlock"
        if failures:
            raise failures[0]


@pytest.mark.parametrize("questions", [100, pytest.param(2_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_questions_without_end_leave_nothing_behind(tmp_path: Path, questions: int) -> None:
    process = psutil.Process()
    with open_reader(tmp_path / "store", prefix_cache_bytes=CACHE) as reader:
        for number in range(24):
            reader.add(f"c{number}", {"first": text_of(random.Random(number))})
        first = Soak(reader, questions // 4)
        first.run()
        gc.collect()
        files, memory = process.num_fds(), process.memory_info().rss
        soak = Soak(reader, questions)
        soak.run()
        gc.collect()
        assert soak.seen["answered"] > questions // 4
        assert soak.seen["stopped"] and soak.seen["cancelled"] and soak.seen["timeout"] and soak.seen["change"]
        assert reader._prefixes.nbytes <= CACHE and len(reader._collections._held) <= 16
        # Every thread has a connection to the index of its own, gone with the thread.
        assert process.num_fds() <= files + 8
        assert process.memory_info().rss - memory < 64 << 20
        assert reader.verify().ok
        # What was given up must not go on: nothing stands in the way of a question now.
        reader.add("after", {"first": text_of(random.Random(0))})
        request = Request.about("after", "Which boat?", {"max_new_tokens": 2})
        assert reader.submit(request).result(timeout=60).usage.windows
        thread = reader._batcher._thread
    assert thread is not None and not thread.is_alive()
