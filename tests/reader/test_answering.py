"""Requests that cover more memory than fits, and callbacks at every step."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.errors import EmptyCollectionError, UnknownCollectionError
from rcc_integrations.model.grammar import Grammar
from rcc_integrations.reader.request import Part, Request
from tests.tiny import TEXT


@pytest.fixture
def reader(tmp_path: Path, model: RCCModel) -> Generator[RCCReader]:
    with RCCReader.open(tmp_path / "store", model=model) as reader:
        reader.add("isle", {"a": TEXT, "b": "Nobody sails in a storm.", "c": TEXT})
        yield reader


def test_requests_that_cover_a_collection_read_every_memory_once(reader: RCCReader) -> None:
    keys = {window.key for record in reader.documents("isle") for window in record.windows}
    for most in (1, 2, len(keys)):
        found = reader.cover(Request("Who?", (Part("isle", max_windows=most),)))
        pages = [request.parts[0].windows or frozenset() for request in found]
        assert len(pages) == -(-len(keys) // most) and frozenset().union(*pages) == keys
        assert sum(len(page) for page in pages) == len(keys)
        answered = [ticket.result(60) for ticket in [reader.submit(request) for request in found]]
        assert [answer.usage.windows for answer in answered] == [len(page) for page in pages]
    (only,) = reader.cover(Request("Who?", (Part("isle", ("b",)),)))
    assert len(only.parts[0].windows or ()) == 1


def test_an_answer_names_the_passages_that_support_it(reader: RCCReader) -> None:
    answer = reader.ask("isle", "Who approves leave?", grammar=Grammar.choice(["The warden"]))
    place = answer.support[0]
    assert answer.supported and place.score == 1 and "warden" in place.text
    assert reader.text("isle", place.document)[place.start : place.end] == place.text
    other = reader.ask("isle", "Who approves leave?", grammar=Grammar.choice(["A zeppelin"]))
    assert other.support == () and not other.supported
    assert reader.ask("isle", "Who?", grammar=Grammar.choice(["The warden"]), sources=0).support == ()


def test_windows_that_are_gone_are_named(reader: RCCReader) -> None:
    with pytest.raises(EmptyCollectionError, match="were chosen"):
        reader.prepare(Request("Who?", (Part("isle", windows=frozenset(["0" * 64])),)))


def test_a_callback_is_called_at_every_step_and_may_fail(reader: RCCReader, monkeypatch: Any) -> None:
    told: list[Any] = []

    def on_step(step: str, counts: dict[str, int] | None) -> None:
        told.append((step, counts))
        raise RuntimeError("blind")

    request = Request("Who?", (Part("isle"),), on_step=on_step)
    answer = reader.submit(request).answer.result()
    assert [step for step, _ in told] == ["route", "route", "load", "load", "generate", "generate"]
    assert told[1][1]["windows"] == answer.usage.windows and told[3][1]["memory_slots"] == answer.usage.memory_slots
    assert told[5][1] == {
        "question_tokens": answer.usage.question_tokens,
        "answer_tokens": answer.usage.answer_tokens,
    }
    told.clear()
    with pytest.raises(UnknownCollectionError):
        reader.submit(Request("Who?", (Part("nowhere"),), on_step=on_step)).answer.result()
    assert told == []

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no power")

    monkeypatch.setattr(reader.model, "generate", broken)
    with pytest.raises(RuntimeError, match="no power"):
        reader.submit(request).answer.result()
    assert told[-1] == ("generate", {})
