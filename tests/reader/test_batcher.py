"""Requests of many callers: nobody waits for ever, nobody takes others with him."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from rcc_integrations import RCCReader
from rcc_integrations.errors import RCCError, UnknownCollectionError
from rcc_integrations.reader import batcher
from rcc_integrations.reader.request import Request
from tests.tiny import TEXT


@pytest.fixture
def reader(tmp_path, model):
    with RCCReader.open(tmp_path / "store", model=model) as reader:
        reader.add("isle", {"ferry.md": TEXT})
        yield reader


def about(question: str, **options) -> Request:
    return Request.about("isle", question, {"max_new_tokens": 12, "min_new_tokens": 12, **options})


def test_each_gets_his_own_answer(reader):
    questions = [f"Who is number {number}?" for number in range(12)]
    wanted = [reader.ask("isle", question, max_new_tokens=12, min_new_tokens=12).text for question in questions]
    tickets = [reader.submit(about(question)) for question in questions]
    assert [ticket.answer.result(60).text for ticket in tickets] == wanted


def test_requests_of_different_kinds_come_out_right(reader):
    kinds = [{"max_new_tokens": 12}, {"max_new_tokens": 5, "min_new_tokens": 5}, {"temperature": 1.0, "seed": 4}]
    tickets = [reader.submit(about("Who?", **kind)) for kind in kinds * 2]
    found = [ticket.answer.result(60).text for ticket in tickets]
    assert found[:3] == found[3:] and len(set(found[:3])) == 3


def test_questions_asked_from_threads_are_generated_together(reader, monkeypatch):
    wanted, sizes, generate = reader.ask("isle", "Who?", max_new_tokens=4).text, [], reader.model.generate
    busy, free = threading.Event(), threading.Event()

    def slow(prefixes, *args, **more):
        sizes.append(len(prefixes))
        busy.set()
        return free.wait(60) and generate(prefixes, *args, **more)

    monkeypatch.setattr(reader.model, "generate", slow)
    texts: list[str] = []
    threads = [
        threading.Thread(target=lambda: texts.append(reader.ask("isle", "Who?", max_new_tokens=4).text))
        for _ in range(4)
    ]
    threads[0].start()
    assert busy.wait(60)
    for thread in threads[1:]:
        thread.start()
    while reader._batcher._waiting.qsize() < 3:
        time.sleep(0.001)
    free.set()
    for thread in threads:
        thread.join()
    assert texts == [wanted] * 4 and sizes == [1, 3]


def test_a_batch_stays_together_however_large(reader, monkeypatch):
    sizes, generate = [], reader.model.generate
    monkeypatch.setattr(
        reader.model, "generate", lambda *args, **more: sizes.append(len(args[0])) or generate(*args, **more)
    )
    answers = reader.ask_batch([("isle", "Who?")] * 11, max_new_tokens=2)
    assert len(answers) == 11 and sizes == [11]


def test_a_callback_may_ask_too(reader):
    inner: list[str] = []

    def on_step(step, counts):
        if (step, counts) == ("route", None):
            inner.append(reader.ask("isle", "When?", max_new_tokens=4).text)

    ticket = reader.submit(replace(about("Who?"), on_step=on_step))
    assert ticket.result(60).text and inner == [reader.ask("isle", "When?", max_new_tokens=4).text]


def test_an_error_stays_with_its_request(reader):
    good, bad = about("Who?"), replace(about("Who?"), parts=(replace(about("Who?").parts[0], collection="nowhere"),))
    tickets = [reader.submit(request) for request in (good, bad, good)]
    assert tickets[0].answer.result(60).text == tickets[2].answer.result(60).text
    with pytest.raises(UnknownCollectionError):
        tickets[1].answer.result(60)


def test_a_batch_that_fails_is_tried_one_by_one(reader, monkeypatch):
    generate = reader.model.generate

    def fragile(prefixes, *args, **more):
        if len(prefixes) > 1:
            raise RuntimeError("too many")
        return generate(prefixes, *args, **more)

    monkeypatch.setattr(reader.model, "generate", fragile)
    tickets = [reader.submit(about("Who?")) for _ in range(3)]
    assert len({ticket.answer.result(60).text for ticket in tickets}) == 1


def test_a_listener_that_breaks_harms_nobody(reader):
    def broken(piece: str) -> None:
        raise OSError("gone")

    pieces: list[str] = []
    first, second = reader.submit(about("Who?"), broken), reader.submit(about("Who?"), pieces.append)
    assert second.answer.result(60).text == "".join(pieces)
    assert first.answer.result(60).finish_reason == "cancelled"


def test_cancelling_stops_the_work(reader):
    begun = threading.Event()
    ticket = reader.submit(about("Who?", max_new_tokens=900, min_new_tokens=900), lambda _: begun.set())
    assert begun.wait(60)
    ticket.cancel()
    answer = ticket.answer.result(60)
    assert answer.finish_reason == "cancelled" and 0 < answer.usage.answer_tokens < 900
    assert not ticket.answer.cancel()


def test_the_thread_ends_when_idle_and_comes_back(reader, monkeypatch):
    monkeypatch.setattr(batcher, "_IDLE", 0.05)
    for _ in range(3):
        assert reader.submit(about("Who?")).answer.result(60).text
        time.sleep(0.2)
    assert reader._batcher._thread is None


def test_closing_finishes_what_was_asked_and_takes_no_more(tmp_path, model):
    reader = RCCReader.open(tmp_path / "store", model=model)
    reader.add("isle", {"ferry.md": TEXT})
    tickets = [reader.submit(about("Who?")) for _ in range(3)]
    reader.close()
    assert all(ticket.answer.done() and ticket.answer.result().text for ticket in tickets)
    with pytest.raises(RCCError, match="closed"):
        reader.submit(about("Who?"))
