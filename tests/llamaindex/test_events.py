from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler

from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex
from tests.llamaindex.conftest import pages

SEEN: list[Any] = []


class Seen(BaseEventHandler):
    def handle(self, event: Any, **_: Any) -> None:
        SEEN.append(event)


@pytest.fixture
def spans() -> Generator[SimpleSpanHandler]:
    root, spans, seen = get_dispatcher(), SimpleSpanHandler(), Seen()
    SEEN.clear()
    root.add_span_handler(spans)
    root.add_event_handler(seen)
    yield spans
    root.span_handlers.remove(spans)
    root.event_handlers.remove(seen)


def named(name: str) -> list[Any]:
    return [event for event in SEEN if event.class_name() == name]


async def test_every_step_is_seen_with_its_counts(llm: RCCLLM, spans: SimpleSpanHandler) -> None:
    index = RCCMemoryIndex.from_documents(pages(), llm=llm, collection="isle")
    (compressed,) = named("RCCCompressEvent")
    record = index.reader.collections()[0]
    assert compressed.documents == 2 and compressed.tokens == record.tokens
    for said in (index.as_query_engine().query("Who?"), await index.as_query_engine().aquery("Who?")):
        usage = said.metadata["usage"][0]
        assert named("RCCRouteEvent")[-1].windows == usage["windows"] == 3
        assert named("RCCLoadEvent")[-1].memory_slots == usage["memory_slots"]
        assert named("RCCGenerateEvent")[-1].answer_tokens == usage["answer_tokens"] == 16
        assert named("RCCGenerateEvent")[-1].question_tokens == usage["question_tokens"]
    assert len(named("RCCGenerateEvent")) == len(named("LLMChatEndEvent")) == 2
    done = {span.id_.split("-")[0]: span for span in spans.completed_spans}
    assert {"RCC.compress", "RCC.route", "RCC.load", "RCC.generate"} <= done.keys()
    parents = {span.id_ for span in spans.completed_spans}
    assert done["RCC.generate"].parent_id in parents and not spans.open_spans


def test_a_step_that_fails_is_a_dropped_span_without_event(
    index: RCCMemoryIndex, spans: SimpleSpanHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no power")

    monkeypatch.setattr(index.reader.model, "generate", broken)
    with pytest.raises(RuntimeError, match="no power"):
        index.as_query_engine().query("Who?")
    monkeypatch.setattr(index.reader, "add", broken)
    with pytest.raises(RuntimeError, match="no power"):
        index.insert(Document(text="The bell rings twice."))
    dropped = {span.id_.split("-")[0] for span in spans.dropped_spans}
    assert {"RCC.generate", "RCC.compress"} <= dropped and not spans.open_spans
    assert named("RCCLoadEvent") and not named("RCCGenerateEvent") and not named("RCCCompressEvent")
