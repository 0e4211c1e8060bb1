"""Programs as LangChain's users write them, over a tiny random model: what is asked for is what happens."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Generator
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage, trim_messages
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnablePassthrough
from langchain_core.tools import tool
from pydantic import BaseModel

from rcc_integrations import RCCReader
from rcc_integrations.errors import BudgetError, ConfigError, GenerationError, StoreError, UnknownCollectionError
from rcc_integrations.langchain import RCCChatModel, RCCDocumentIndex, create_memory_chain
from tests.tiny import tiny_model

CONTEXT = "Gulls sit on the wall of the harbour. Nobody sails in a storm. The bell rings twice.\n\n" * 12
QUESTION = "When does the ferry to Holm leave?"


class Mast(BaseModel):
    """A mast."""

    height: int
    kind: Literal["fore", "main"]


class Boat(BaseModel):
    """A boat."""

    masts: list[Mast]
    sizes: dict[str, int]


class Part(BaseModel):
    """A part, which may hold parts."""

    name: Literal["hull", "deck"]
    parts: list[Part] = []
    under: Part | None = None


@tool
def tide(place: Literal["Holm", "Varde"]) -> str:
    """Tell the tide at a place."""
    return "high"


@tool
def build(boat: Boat) -> str:
    """Build a boat."""
    return "built"


def chat(reader: RCCReader, **options: Any) -> RCCChatModel:
    return RCCChatModel(reader=reader, **{"max_tokens": 12, "min_tokens": 4, **options})


@pytest.fixture
def roomy(tmp_path: Path) -> Generator[RCCReader]:
    """A reader over a tiny random model with many positions, for schemas that are told in the prompt."""
    with RCCReader.open(tmp_path / "roomy", model=tiny_model(base={"max_position_embeddings": 4096})) as reader:
        yield reader


def documents_of(reader: RCCReader) -> list[str]:
    return sorted(f"{each.name}/{one.id}" for each in reader.collections() for one in reader.documents(each.name))


def test_a_rag_chain_with_a_long_prompt(reader: RCCReader) -> None:
    prompt = ChatPromptTemplate.from_template("Context:\n{context}\n\nQuestion: {question}")
    chain = {"context": lambda _: CONTEXT, "question": RunnablePassthrough()} | prompt | chat(reader, compress_over=100)
    before = documents_of(reader)
    said = chain.invoke(QUESTION)
    assert said.text and said.usage_metadata["input_token_details"]["cache_read"] > 0
    assert "collection" not in said.response_metadata and documents_of(reader) == before
    asked = chat(reader, compress_over=100)._asked(
        prompt.invoke({"context": CONTEXT, "question": QUESTION}).messages, None, {}
    )
    assert asked.request.question == QUESTION and QUESTION in asked.request.turns[0].content


def test_a_prompt_without_memory_costs_none(reader: RCCReader) -> None:
    said = (chat(reader, compress_over=None) | StrOutputParser()).invoke("Who sails?")
    assert said


def test_a_talk_keeps_its_subject(reader: RCCReader) -> None:
    history = [HumanMessage("When was the lighthouse of the isle built?"), AIMessage("In 1871.")]
    said = chat(reader, collection="isle", max_windows=1).invoke([*history, HumanMessage("And what does it say?")])
    assert said.response_metadata["sources"][0]["document"] == "isle.md"
    call = AIMessage("", tool_calls=[{"name": "tide", "args": {"place": "Holm"}, "id": "1"}])
    result = ToolMessage("the ferry leaves at 7:45, a ticket costs 12 euros", tool_call_id="1", name="tide")
    said = chat(reader, collection="isle", max_windows=1).invoke([history[0], call, result])
    assert said.response_metadata["sources"][0]["document"] == "isle.md"


def test_counting_and_trimming_store_nothing(reader: RCCReader, monkeypatch: pytest.MonkeyPatch) -> None:
    model, before = chat(reader, compress_over=50), documents_of(reader)
    monkeypatch.setattr(reader.model, "compress_batches", lambda *_: pytest.fail("counting compressed"))
    block = {"type": "text-plain", "text": CONTEXT, "mime_type": "text/plain"}
    messages = [SystemMessage("Be brief."), HumanMessage([block]), AIMessage("Yes."), HumanMessage(CONTEXT + QUESTION)]
    assert model.get_num_tokens_from_messages(messages) > 50 and model.get_num_tokens_from_messages([]) == 0
    kept = trim_messages(messages, max_tokens=100, token_counter=model, include_system=True, start_on="human")
    assert kept and documents_of(reader) == before


def test_what_is_counted_is_what_is_read(reader: RCCReader) -> None:
    model = chat(reader, compress_over=50)
    for messages in ([HumanMessage(CONTEXT + QUESTION)], [HumanMessage("Who?")]):
        counted = model.get_num_tokens_from_messages(messages)
        assert model.invoke(messages).usage_metadata["input_tokens"] == counted


@pytest.mark.parametrize("seed", range(3))
def test_tools_with_models_inside(roomy: RCCReader, seed: int) -> None:
    model = chat(roomy, max_tokens=2000, temperature=1.5, seed=seed, min_tokens=0)
    (call,) = model.bind_tools([build], tool_choice="any").invoke("Build a boat.").tool_calls
    Boat.model_validate(call["args"]["boat"])
    (call,) = model.bind_tools([Part], tool_choice="any").invoke("Name a part.").tool_calls
    assert call["name"] == "Part" and Part.model_validate(call["args"])
    made = model.with_structured_output(Part).invoke("Name a part.")
    assert isinstance(made, Part)


def test_stop_never_cuts_an_object(reader: RCCReader) -> None:
    model = chat(reader, max_tokens=300, min_tokens=0)
    plain = model.with_structured_output(Mast).invoke("A mast?")
    assert model.with_structured_output(Mast).invoke("A mast?", stop=['"', "}", ","]) == plain
    with pytest.raises(GenerationError, match="raise max_tokens"):
        chat(reader, max_tokens=2, min_tokens=0).with_structured_output(Mast).invoke("A mast?")


def test_tools_and_a_format_at_once(reader: RCCReader) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "Mast", "schema": Mast.model_json_schema()}}
    bound = chat(reader, max_tokens=300, min_tokens=0).bind_tools([tide], response_format=schema)
    said = bound.invoke("Is it high tide?")
    if said.tool_calls:
        assert said.tool_calls[0]["args"]["place"] in ("Holm", "Varde")
    else:
        Mast.model_validate_json(said.text)
    forced = chat(reader, max_tokens=300, min_tokens=0).bind_tools([tide], tool_choice="none", response_format=schema)
    Mast.model_validate_json(forced.invoke("Is it high tide?").text)


def test_words_stream_although_tools_are_bound(reader: RCCReader) -> None:
    bound = chat(reader, max_tokens=30, min_tokens=20, seed=1, temperature=1.0).bind_tools([tide])
    chunks = list(bound.stream("Hello"))
    whole = bound.invoke("Hello")
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert whole.tool_calls or sum(bool(chunk.text) for chunk in chunks) > 3


def test_another_store_means_other_answers(reader: RCCReader, tmp_path: Path, saved_model: Path) -> None:
    for name in ("one", "two"):
        RCCDocumentIndex.from_documents(
            [Document(id=f"{name}.md", page_content="The ferry leaves.")], store=tmp_path / name, collection="c",
            model=str(saved_model),
        ).close()  # fmt: skip
    model = RCCChatModel(store=tmp_path / "one", collection="c", model=str(saved_model), max_tokens=4)

    def asked(model: Any) -> str:
        return model.invoke("Which ferry?").response_metadata["sources"][0]["document"]

    assert asked(model) == "one.md" and asked(model.model_copy(update={"store": tmp_path / "two"})) == "two.md"
    configurable = model.configurable_fields(store=ConfigurableField(id="store"))
    assert asked(configurable.with_config(configurable={"store": tmp_path / "two"})) == "two.md"
    model.store = tmp_path / "two"
    assert asked(model) == "two.md"
    with model:
        weights = model.memory.model
    assert not model._memory.is_open and weights is not None


def test_ordinary_values_of_a_call(reader: RCCReader) -> None:
    model = chat(reader, collection="isle", documents="isle.md", min_tokens=0)
    whole = model.invoke("Who?").text
    cut = whole[: whole.index(whole[4:6])].rstrip()
    assert model.invoke("Who?", stop=whole[4:6]).text == cut
    assert model.invoke("Who?", config={"configurable": {"stop": whole[4:6]}}).text == cut
    assert model.invoke("Who?", temperature=None, max_tokens=None, timeout=60).text == whole
    assert model.invoke("Who?", seed=2**70, temperature=1.0).text and model.invoke("Who \ud83d?").text
    assert all(chunk.usage_metadata is None for chunk in model.stream("Who?", stream_usage=False))
    for wrong in ({"temperature": "hot"}, {"seed": "x"}, {"timeout": -1}, {"documents": 3}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            model.invoke("Who?", **wrong)
    with pytest.raises(ConfigError, match="'web_search' is not a function"):
        model.bind_tools([{"type": "web_search"}])
    with pytest.raises(BudgetError, match="max_tokens") as error:
        model.invoke("Who?", max_tokens=5000)
    assert "max_new_tokens" not in str(error.value)


def test_a_timeout_covers_what_is_compressed(reader: RCCReader) -> None:
    block = {"type": "text-plain", "text": CONTEXT, "mime_type": "text/plain"}
    with pytest.raises(GenerationError, match="timeout of 1e-06 seconds"):
        chat(reader, timeout=1e-6).invoke([HumanMessage([block, {"type": "text", "text": "Who?"}])])


def test_metadata_of_an_answer(reader: RCCReader) -> None:
    block = {"type": "text-plain", "text": "Eels swim at night.", "mime_type": "text/plain"}
    message = HumanMessage([block, {"type": "text", "text": "Which animals swim?"}])
    said = chat(reader, collection="isle").invoke([message])
    assert said.response_metadata["collection"] == "isle"
    assert said.response_metadata["memory"]["windows"] == 4
    assert said.usage_metadata["input_token_details"]["cache_read"] == said.response_metadata["memory"]["slots"] > 0


def test_a_vector_store_is_replaced(tmp_path: Path, saved_model: Path) -> None:
    pages = [
        Document(id="rule", page_content="The warden approves leave.",
                 metadata={"kind": "rule", "year": 2026, "day": date(2026, 1, 2), "score": "mine", "start": "page 3"}),
        Document(id="notice", page_content="The warden sells tickets.", metadata={"kind": "notice", "year": 2020}),
    ]  # fmt: skip
    with RCCDocumentIndex.from_documents(
        pages, None, store=tmp_path / "s", collection="c", model=str(saved_model)
    ) as found:
        best = found.similarity_search("Who approves leave?", k=1)[0]
        assert best.metadata["day"] == "2026-01-02" and best.metadata["score"] == "mine"
        assert best.metadata["start"] == "page 3" and best.metadata["rcc_window"]["start"] == 0
        assert [each.metadata["kind"] for each in found.invoke("warden", filter={"year": {"$lt": 2025}})] == ["notice"]
        either = {"$or": [{"kind": "rule"}, {"year": {"$in": [2020]}}]}
        assert len(found.similarity_search("warden", filter=either)) == 2
        assert found.similarity_search("warden", filter={"$not": {"kind": {"$exists": True}}}) == []
        retriever = found.as_retriever(search_kwargs={"k": 1, "filter": lambda metadata: metadata["kind"] == "notice"})
        assert [each.metadata["kind"] for each in retriever.invoke("warden leave")] == ["notice"]
        scores = [score for _, score in found.similarity_search_with_score("warden leave")]
        assert all(0 < score <= 1 for score in scores) and scores == sorted(scores, reverse=True)
        assert found.add_documents([Document(page_content="Eels.")], ids=["eels"]) == ["eels"]
        for wrong in ({"year": {"$near": 3}}, {"year": {"$gt": "x"}}, "kind"):
            with pytest.raises(ConfigError, match="filter"):
                found.similarity_search("warden", filter=wrong)
        with pytest.raises(ConfigError, match="vectors"):
            found.as_retriever(search_type="mmr")


def test_a_mistyped_store_or_collection(reader: RCCReader, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="memroy"):
        RCCDocumentIndex(store=tmp_path / "memroy", collection="isle").invoke("Who?")
    assert not (tmp_path / "memroy").exists()
    with pytest.raises(UnknownCollectionError, match=r"'isle'\?.*The store is '.*store'"):
        RCCDocumentIndex(reader=reader, collection="isles").invoke("Who?")


def test_one_blank_page_stops_nothing(reader: RCCReader, caplog: pytest.LogCaptureFixture) -> None:
    records = InMemoryRecordManager(namespace="c")
    records.create_schema()
    pages = [
        Document(page_content=text, metadata={"source": "a.pdf", "page": n})
        for n, text in enumerate(["The ferry leaves.", "  ", "Nobody sails."])
    ]
    found = RCCDocumentIndex(reader=reader, collection="pages")
    with caplog.at_level(logging.WARNING):
        index(pages, records, found, cleanup=None, source_id_key="source", key_encoder="sha256")
    assert len(reader.documents("pages")) == 2 and "'a.pdf', page 1" in caplog.text
    found.upsert([Document(id="x", page_content="Eels.")])
    found.upsert([Document(id="x", page_content=" ")])
    assert found.get(["x"]) == []


def test_a_chain_over_memory_streams(reader: RCCReader) -> None:
    chain = create_memory_chain(chat(reader, collection="isle"))
    parts = list(chain.stream({"input": "Who approves leave?"}))
    assert "".join(part.get("answer", "") for part in parts) and parts[-1]["context"][0].metadata["rcc_window"]


COLD = """
import asyncio, sys, time
from rcc_integrations.langchain import RCCChatModel

async def main():
    model = RCCChatModel(store=sys.argv[1], model=sys.argv[2], max_tokens=2)
    longest, last, over = 0.0, time.perf_counter(), False

    async def tick():
        nonlocal longest, last
        while not over:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    assert "rcc_integrations.model.checkpoint" not in sys.modules
    blocked = []
    import rcc_integrations.reader.shared as shared
    load = shared.SharedModel.__call__
    import threading
    loop = threading.get_ident()
    shared.SharedModel.__call__ = lambda self: (blocked.append(threading.get_ident() == loop and self._model is None), load(self))[1]
    await model.ainvoke("Hello")
    over = True
    await ticking
    print(any(blocked), len(blocked) > 0)

asyncio.run(main())
"""


def test_the_first_call_does_not_load_on_the_event_loop(tmp_path: Path, saved_model: Path) -> None:
    done = subprocess.run([sys.executable, "-c", COLD, str(tmp_path / "s"), str(saved_model)], capture_output=True,
                          text=True, check=False, timeout=300)  # fmt: skip
    assert done.stdout.strip() == "False True", done.stderr


FORK = """
import multiprocessing, os, sys
import torch
torch.set_num_threads(2)
from rcc_integrations.langchain import RCCChatModel
model = RCCChatModel(store=sys.argv[1], model=sys.argv[2], collection="c", max_tokens=4)
model.memory.add("c", {"a": "The ferry leaves at 7:45. " * 20})
print(len(model.invoke("When?").text) > 0, flush=True)

def child(queue):
    model.memory.add("c", {"b": "Eels swim at night."})
    queue.put(model.invoke("When?").text)

context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=child, args=(queue,))
process.start()
print(len(queue.get(timeout=120)) > 0, flush=True)
process.join(60)
print(process.exitcode, len(model.memory.documents("c")), len(model.invoke("When?").text) > 0, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_fork_after_a_question_answers_too(tmp_path: Path, saved_model: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, str(tmp_path / "s"), str(saved_model)], capture_output=True,
                          text=True, check=False, timeout=300)  # fmt: skip
    assert done.stdout.split() == ["True", "True", "0", "2", "True"], done.stderr


async def test_a_cancelled_question_ends_what_it_compresses(reader: RCCReader) -> None:
    block = {"type": "text-plain", "text": CONTEXT * 40, "mime_type": "text/plain"}
    task = asyncio.create_task(chat(reader).ainvoke([HumanMessage([block, {"type": "text", "text": "Who?"}])]))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert json.dumps(documents_of(reader)).count("inputs") <= 1
