"""Answers while they are being written: iterated over, left, dropped, failed, late."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations import AnswerStream, RCCModel, RCCReader
from rcc_integrations.errors import GenerationError
from rcc_integrations.reader.request import Request
from tests.tiny import TEXT

SHORT = {"max_new_tokens": 12, "min_new_tokens": 12}
LONG = {"max_new_tokens": 900, "min_new_tokens": 900}


@pytest.fixture
def reader(tmp_path: Path, model: RCCModel) -> Generator[RCCReader]:
    with RCCReader.open(tmp_path / "store", model=model) as opened:
        opened.add("isle", {"ferry.md": TEXT})
        yield opened


def about(question: str, **options: Any) -> Request:
    return Request.about("isle", question, options)


def test_the_pieces_are_the_answer(reader: RCCReader) -> None:
    stream = reader.stream("isle", "Who?", **SHORT)
    pieces = list(stream)
    assert len(pieces) > 1 and "".join(pieces) == stream.answer.text == reader.ask("isle", "Who?", **SHORT).text
    assert list(stream) == []


async def test_the_same_pieces_come_to_an_event_loop(reader: RCCReader) -> None:
    stream = reader.stream_request(about("Who?", **SHORT))
    pieces = [piece async for piece in stream]
    assert pieces == list(reader.stream("isle", "Who?", **SHORT)) and "".join(pieces) == stream.answer.text
    async with reader.stream_request(about("Who?", **LONG)) as left:
        await anext(left)
    assert [piece async for piece in left] == []
    assert left.answer.finish_reason == "cancelled" and 0 < left.answer.usage.answer_tokens < 900


def test_held_pieces_are_not_shown(reader: RCCReader) -> None:
    stream = reader.stream_request(about("Who?", **SHORT), held=True)
    assert list(stream) == [] and stream.answer.text == reader.ask("isle", "Who?", **SHORT).text


def test_leaving_a_stream_stops_the_work(reader: RCCReader) -> None:
    with reader.stream("isle", "Who?", **LONG) as stream:
        next(stream)
    assert stream.answer.finish_reason == "cancelled" and 0 < stream.answer.usage.answer_tokens < 900


def test_a_dropped_stream_stops_the_work(reader: RCCReader) -> None:
    stream = reader.stream("isle", "Who?", **LONG)
    next(stream)
    ticket, dropped = stream._ticket, weakref.ref(stream)
    assert ticket is not None
    del stream
    gc.collect()
    assert dropped() is None and ticket.answer.result(60).finish_reason == "cancelled"


def test_a_stream_that_never_began_has_no_answer(reader: RCCReader) -> None:
    never = reader.stream("isle", "Who?")
    never.close()
    with pytest.raises(RuntimeError, match="before it began"):
        _ = never.answer


async def test_an_error_reaches_whoever_reads(reader: RCCReader, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory, say")

    monkeypatch.setattr(reader.model, "generate", broken)
    stream = reader.stream("isle", "Who?")
    with pytest.raises(RuntimeError, match="out of memory"):
        next(stream)
    with pytest.raises(RuntimeError, match="out of memory"):
        _ = stream.answer
    with pytest.raises(RuntimeError, match="out of memory"):
        await anext(reader.stream_request(about("Who?")))


@pytest.fixture
def stuck(reader: RCCReader, monkeypatch: pytest.MonkeyPatch) -> Generator[threading.Event]:
    """Generation waits until this is set."""
    free, generate = threading.Event(), reader.model.generate
    monkeypatch.setattr(reader.model, "generate", lambda *args, **more: free.wait(60) and generate(*args, **more))
    yield free
    free.set()


async def test_an_answer_that_is_late_is_given_up(reader: RCCReader, stuck: threading.Event) -> None:
    streams = [reader.stream_request(about("Who?", **LONG), timeout=0.05) for _ in range(2)]
    tickets = [reader.submit(about("Who?", **LONG)) for _ in range(2)]
    with pytest.raises(GenerationError, match=r"timeout of 0\.05 seconds"):
        next(streams[0])
    with pytest.raises(GenerationError, match=r"timeout of 0\.05 seconds"):
        await anext(streams[1])
    with pytest.raises(GenerationError, match=r"timeout of 0\.05 seconds"):
        tickets[0].result(0.05)
    with pytest.raises(GenerationError, match=r"timeout of 0\.05 seconds"):
        await tickets[1].aresult(0.05)
    stuck.set()
    answers = [stream.answer for stream in streams] + [ticket.answer.result(60) for ticket in tickets]
    assert {answer.finish_reason for answer in answers} == {"cancelled"}


async def test_a_task_that_is_cancelled_stops_the_work(reader: RCCReader, stuck: threading.Event) -> None:
    ticket = reader.submit(about("Who?", **LONG))
    task = asyncio.create_task(ticket.aresult())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stuck.set()
    assert ticket.answer.result(60).finish_reason == "cancelled"


def test_a_stream_is_handed_in_once(reader: RCCReader) -> None:
    submitted: list[object] = []
    request = about("Who?", **SHORT)
    stream = AnswerStream(lambda emit: submitted.append(emit) or reader.submit(request, emit))  # type: ignore[func-returns-value]
    assert "".join(stream) == stream.answer.text and len(submitted) == 1
