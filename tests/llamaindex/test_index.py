from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, load_index_from_storage
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from pydantic import BaseModel

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.errors import (
    ConfigError,
    EmptyDocumentError,
    FingerprintMismatchError,
    StoreError,
    UnknownDocumentError,
)
from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex
from rcc_integrations.reader.request import Request
from tests.llamaindex.conftest import ISLE, pages
from tests.tiny import TEXT, tiny_model


class Answered(BaseModel):
    number: int


def of(key: str, value: Any, operator: FilterOperator = FilterOperator.EQ) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])


def test_windows_come_with_score_place_and_source(index: RCCMemoryIndex) -> None:
    found = index.as_retriever(similarity_top_k=2).retrieve("When was the lighthouse built?")
    best = found[0]
    assert best.score > 0 and best.node.ref_doc_id == "isle.md" and best.node.metadata["kind"] == "guide"
    assert ISLE[best.node.start_char_idx : best.node.end_char_idx] == best.node.get_content()
    assert "_llama_index" not in best.node.metadata


def test_places_are_those_in_the_document_where_a_parser_cut_it(llm: RCCLLM) -> None:
    text = TEXT + " " + ISLE
    index = RCCMemoryIndex.from_documents(
        [Document(text=text, id_="a")], llm=llm, transformations=[SentenceSplitter(chunk_size=40, chunk_overlap=0)]
    )
    best = index.as_query_engine(max_windows=1).query("When was the lighthouse built?").source_nodes[0]
    assert best.node.start_char_idx > 40 and "1871" in best.node.get_content()
    assert text[best.node.start_char_idx : best.node.end_char_idx] == best.node.get_content()


def test_progress_is_shown_if_asked_for(llm: RCCLLM, capsys: pytest.CaptureFixture[str]) -> None:
    RCCMemoryIndex.from_documents(pages(), llm=llm, collection="quiet")
    assert capsys.readouterr().err == ""
    RCCMemoryIndex.from_documents(pages(), llm=llm, collection="shown", show_progress=True)
    assert "2/2" in capsys.readouterr().err


async def test_filters_choose_documents_before_memory_is_loaded(index: RCCMemoryIndex) -> None:
    guides = of("kind", "guide")
    said = index.as_query_engine(filters=guides).query("Who approves leave?")
    assert {node.node.ref_doc_id for node in said.source_nodes} == {"isle.md"}
    alone = index.reader.ask("isle", "Who approves leave?", documents=["isle.md"], max_new_tokens=16, min_new_tokens=6)
    assert said.metadata["usage"][0]["memory_slots"] == alone.usage.memory_slots and str(said) == alone.text
    assert (
        index.as_retriever(filters=of("year", 2021, FilterOperator.GT)).retrieve("isle farms leave")[0].node.ref_doc_id
        == "ferry.md"
    )
    nested = MetadataFilters(filters=[guides, of("year", 2026)], condition=FilterCondition.OR)
    assert len(index.choose(nested, None)) == 2
    assert index.choose(MetadataFilters(filters=[guides], condition=FilterCondition.NOT), None) == ["ferry.md"]
    assert await index.as_retriever(filters=of("kind", "none")).aretrieve("isle") == []
    assert str(index.as_query_engine(filters=of("kind", "none")).query("Who?")) == "Empty Response"
    with pytest.raises(ConfigError, match="'year' >"):
        index.choose(of("year", "x", FilterOperator.GT), None)
    with pytest.raises(UnknownDocumentError, match=r"isle\.md"):
        index.as_query_engine(doc_ids=["isle"]).query("Who?")


MODES = (("compact", 1), ("accumulate", 3), ("refine", 3), ("tree_summarize", 4))


@pytest.mark.parametrize(("mode", "calls"), MODES, ids=[mode for mode, _ in MODES])
async def test_more_memory_than_fits(index: RCCMemoryIndex, monkeypatch: Any, mode: str, calls: int) -> None:
    asked: list[Request] = []
    prepare = index.reader._engine.prepare
    monkeypatch.setattr(index.reader._engine, "prepare", lambda request: (asked.append(request), prepare(request))[1])
    engine = index.as_query_engine(response_mode=mode, max_windows=1)
    said = engine.query("When was the lighthouse built?")
    assert index.reader.collections()[0].windows == 3
    # The windows of `compact` are chosen before they are asked, so that who looks on sees them.
    assert len(asked) - (mode == "compact") == len(said.metadata["usage"]) == calls
    read = {key for request in asked for part in request.parts for key in part.windows or ()}
    assert len(read) == (0 if mode == "compact" else 3)  # every window, once
    assert len(said.source_nodes) == (1 if mode == "compact" else 3)
    # Windows are ranked by the question, not by the words around an earlier answer.
    assert said.source_nodes[0].node.ref_doc_id == "isle.md" and said.source_nodes[0].score > 0
    asaid = await engine.aquery("When was the lighthouse built?")
    assert str(asaid) == str(said)
    assert [node.node.id_ for node in asaid.source_nodes] == [node.node.id_ for node in said.source_nodes]


def test_equal_windows_are_read_once_and_crowd_out_no_others(llm: RCCLLM) -> None:
    texts = ["The bell rings twice."] * 3 + ["Nobody sails in a storm.", "One gull sits on the wall."]
    index = RCCMemoryIndex.from_documents([Document(text=text, id_=str(n)) for n, text in enumerate(texts)], llm=llm)
    said = index.as_query_engine(response_mode="accumulate", max_windows=3).query("How often does the bell ring?")
    assert len(said.metadata["usage"]) == 1
    assert {node.node.get_content() for node in said.source_nodes} == set(texts)


def test_what_fits_is_asked_once(index: RCCMemoryIndex) -> None:
    whole = index.as_query_engine(response_mode="tree_summarize").query("Who approves leave?")
    assert str(whole) == str(index.as_query_engine().query("Who approves leave?"))
    with pytest.raises(ConfigError, match="response_mode"):
        index.as_query_engine(response_mode="best")
    for wrong in ({"response_mode": "refine"}, {"output_cls": Answered}):
        with pytest.raises(ConfigError, match="streaming"):
            index.as_query_engine(streaming=True, **wrong)


def test_an_answer_can_be_an_object(index: RCCMemoryIndex) -> None:
    llm = RCCLLM(reader=index.reader, max_tokens=100)
    assert isinstance(index.as_query_engine(llm=llm, output_cls=Answered).query("How many?").response, Answered)


def test_a_stock_pipeline_takes_the_retriever(index: RCCMemoryIndex) -> None:
    engine = RetrieverQueryEngine.from_args(index.as_retriever(), llm=index.llm)
    assert engine.query("Who approves leave?").source_nodes


def test_another_llm_gets_the_windows_as_text(index: RCCMemoryIndex) -> None:
    assert ISLE in str(index.as_query_engine(llm=MockLLM()).query("When was the lighthouse built?"))
    assert index.as_chat_engine(llm=MockLLM(), chat_mode="context").chat("When was the lighthouse built?").source_nodes


@pytest.mark.parametrize("mode", ["simple", "condense_question"])
def test_other_chat_modes_are_the_frameworks_own(index: RCCMemoryIndex, mode: str) -> None:
    engine = index.as_chat_engine(chat_mode=mode)
    assert type(engine).__module__.startswith("llama_index.") and engine.chat("Who?").response


def test_the_chat_engine_remembers_and_forgets(index: RCCMemoryIndex) -> None:
    engine = index.as_chat_engine(system_prompt="Be brief.")
    first = engine.chat("Who approves leave?")
    assert first.source_nodes and [m.role.value for m in engine.chat_history] == ["user", "assistant"]
    second = engine.chat("And who sails?")
    assert second.response != index.as_chat_engine(system_prompt="Be brief.").chat("And who sails?").response
    with pytest.raises(Exception, match="fit"):
        engine.chat("x " * 5000)
    assert len(engine.chat_history) == 4
    engine.reset()
    assert engine.chat_history == [] and engine.chat("Who approves leave?").response == first.response


async def test_streams_are_remembered_as_far_as_they_went(index: RCCMemoryIndex, monkeypatch: Any) -> None:
    engine = index.as_chat_engine()
    whole = engine.stream_chat("Who approves leave?")
    text = "".join(whole.response_gen)
    assert whole.source_nodes and engine.chat_history[1].content == text
    left = engine.stream_chat("And who sails?")
    stream = left.chat_stream
    assert stream is not None
    first = next(stream)
    stream.close()
    assert [said.content for said in engine.chat_history[2:]] == ["And who sails?", first.message.content]
    aleft = (await engine.astream_chat("Who then?")).achat_stream
    assert aleft is not None
    first = await anext(aleft)
    await aleft.aclose()
    assert [said.content for said in engine.chat_history[4:]] == ["Who then?", first.message.content]

    def broken(*_: Any, emit: Any, **__: Any) -> Any:
        emit(0, "Ha")
        raise RuntimeError("no power")

    monkeypatch.setattr(index.reader.model, "generate", broken)
    with pytest.raises(RuntimeError, match="no power"):
        list(engine.stream_chat("Who now?").response_gen)
    with pytest.raises(RuntimeError, match="no power"):
        [piece async for piece in (await engine.astream_chat("Who now?")).async_response_gen()]
    assert len(engine.chat_history) == 6


async def test_no_async_operation_works_on_the_event_loop(index: RCCMemoryIndex, monkeypatch: Any) -> None:
    here, reader = threading.get_ident(), index.reader

    def aside(owner: Any, name: str) -> None:
        done = getattr(owner, name)

        def checked(*given: Any, **options: Any) -> Any:
            assert threading.get_ident() != here, f"{name} on the event loop"
            return done(*given, **options)

        monkeypatch.setattr(owner, name, checked)

    engine, streaming, chat = index.as_query_engine(), index.as_query_engine(streaming=True), index.as_chat_engine()
    for owner, names in (
        (reader.model, ("compress_batches", "generate")),
        (reader, ("add", "delete", "documents", "search")),
        (reader._engine, ("prepare", "cover")),
        (reader._collections, ("get",)),
    ):
        for name in names:
            aside(owner, name)
    new = pages()[0].model_copy(update={"id_": "new"})
    await index.ainsert(new)
    await index.aupdate_ref_doc(Document(text="The bell rings.", id_="new"))
    await index.ainsert_nodes([TextNode(text="The bell rings twice.", id_="n")])
    assert await index.arefresh_ref_docs([new]) == [True]
    await index.adelete_nodes(["n"])
    await index.adelete_ref_doc("new")
    assert await index.as_retriever(filters=of("kind", "guide")).aretrieve("the isle")
    assert str(await engine.aquery("Who?")) and (await chat.achat("Who?")).response
    assert str(await index.as_query_engine(response_mode="refine", max_windows=1).aquery("Who?"))
    assert [piece async for piece in (await streaming.aquery("Who?")).async_response_gen()]
    assert [piece async for piece in (await chat.astream_chat("Who?")).async_response_gen()]
    with pytest.raises(AssertionError, match="on the event loop"):
        index.as_retriever().retrieve("Who?")  # the check itself works


async def test_changes_are_done_in_the_order_they_were_asked_for(index: RCCMemoryIndex) -> None:
    await asyncio.gather(*(index.ainsert(Document(text=f"Bell number {n} rings.", id_="bell")) for n in range(4)))
    assert index.reader.text("isle", "bell") == "Bell number 3 rings."
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda n: index.insert(Document(text=f"Gull {n}.", id_=f"gull{n}")), range(8)))
    assert len(index.ref_doc_info) == 11 and len(index.index_struct.nodes) == 11


def test_what_cannot_go_in_is_named_and_nothing_is_left_of_it(index: RCCMemoryIndex) -> None:
    bad = pages()[0].model_copy(update={"id_": "bad"})
    bad.set_content("   ")
    strict = RCCMemoryIndex(nodes=[], llm=index.llm, collection="isle", strict=True)
    with pytest.raises(EmptyDocumentError, match="bad"):
        strict.insert(bad)
    assert "bad" not in index.ref_doc_info and "bad#whole" not in strict.docstore.docs
    with pytest.raises(TypeError, match=r"Did you mean 'node_postprocessors'"):
        index.as_query_engine(node_postprocessor=[])
    with pytest.raises(TypeError, match="colection"):
        RCCMemoryIndex.from_documents(pages(), llm=index.llm, colection="isle")
    with pytest.raises(ConfigError, match="open already"):
        RCCMemoryIndex(nodes=[], reader=index.reader, device="cpu")


def test_an_edit_compresses_no_more_than_it_must(index: RCCMemoryIndex, model: RCCModel, monkeypatch: Any) -> None:
    index.insert(pages()[0].model_copy(update={"id_": "long"}))
    done: list[int] = []
    compress = model.compress_batches
    monkeypatch.setattr(
        model, "compress_batches", lambda windows, *a: (done.append(len(windows)), compress(windows, *a))[1]
    )
    changed = pages()[0]
    changed.metadata["year"] = 2027
    assert index.refresh_ref_docs([changed]) == [True]
    assert done == [0] and index.ref_doc_info["ferry.md"].metadata["year"] == 2027


def test_a_collection_made_elsewhere_is_opened(reader: RCCReader) -> None:
    reader.add("plain", {"leave.md": TEXT})
    index = RCCMemoryIndex.from_store(reader, "plain")
    assert list(index.ref_doc_info) == ["leave.md"] and len(index.docstore.docs) == 1
    assert index.as_retriever().retrieve("Who approves leave?")[0].node.ref_doc_id == "leave.md"
    index.delete_ref_doc("leave.md")
    assert index.is_empty


def test_an_index_over_a_collection_that_is_there_goes_on_with_it(index: RCCMemoryIndex) -> None:
    again = RCCMemoryIndex(nodes=[], reader=index.reader, collection="isle")
    assert again.docstore.docs.keys() == index.docstore.docs.keys() and again.refresh_ref_docs(pages()) == [False] * 2
    new = Document(text="The bell rings twice.", id_="bell")
    more = RCCMemoryIndex.from_documents([new], reader=index.reader, collection="isle")
    assert set(more.ref_doc_info) == {"ferry.md", "isle.md", "bell"} and len(more.docstore.docs) == 3


def persisted(folder: Path, saved_model: Path) -> Path:
    index = RCCMemoryIndex.from_documents(pages(), store=folder / "memory", collection="isle", model=saved_model)
    index.storage_context.persist(str(folder / "storage"))
    index.close()
    return folder / "storage"


def test_a_new_process_loads_it(tmp_path: Path, saved_model: Path) -> None:
    storage = persisted(tmp_path, saved_model)
    code = (
        "import sys, rcc_integrations.llamaindex\n"
        "from llama_index.core import Document, StorageContext, load_index_from_storage\n"
        "index = load_index_from_storage(StorageContext.from_defaults(persist_dir=sys.argv[1]), model=sys.argv[2])\n"
        "print(type(index).__name__, sorted(index.ref_doc_info), len(str(index.as_query_engine().query('Who?'))) > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(storage), str(saved_model)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "RCCMemoryIndex ['ferry.md', 'isle.md'] True"


def test_what_is_wrong_with_a_store_is_said(tmp_path: Path, saved_model: Path) -> None:
    storage = persisted(tmp_path, saved_model)

    def load(**options: Any) -> RCCMemoryIndex:
        context = StorageContext.from_defaults(persist_dir=str(storage))
        found: Any = load_index_from_storage(context, **options)
        return found

    shutil.move(tmp_path / "memory", tmp_path / "moved")
    with pytest.raises(StoreError, match="moved"):
        load(model=saved_model)
    index = load(store=tmp_path / "moved", model=saved_model)
    assert set(index.ref_doc_info) == {"ferry.md", "isle.md"}
    index.close()
    RCCReader.open(tmp_path / "other").close()
    with pytest.raises(StoreError, match="another one"):
        load(store=tmp_path / "other")
    other = tiny_model(seed=1)
    index = load(store=tmp_path / "moved", model=other)
    with pytest.raises(FingerprintMismatchError, match="another model"):
        index.as_query_engine().query("Who?")
    index.reader.rename("isle", "holm")
    index.close()
    with pytest.raises(StoreError, match="'holm' now"):
        load(store=tmp_path / "moved")
    with RCCReader.open(tmp_path / "moved", model=other) as reader:
        reader.add("isle", {"a": TEXT})
    with pytest.raises(FingerprintMismatchError, match="anew"):
        load(store=tmp_path / "moved")


def test_arguments_that_exclude_one_another(reader: RCCReader, tmp_path: Path, llm: RCCLLM) -> None:
    with pytest.raises(ConfigError, match="not both"):
        RCCMemoryIndex(nodes=[], store=tmp_path, reader=reader)
    with pytest.raises(ConfigError, match="share"):
        RCCMemoryIndex(nodes=[], store=tmp_path / "x", llm=llm)
    with pytest.raises(ConfigError, match="another reader"):
        RCCMemoryIndex(nodes=[], reader=reader).as_query_engine(llm=RCCLLM(store=tmp_path / "y"))
