from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, load_index_from_storage
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from pydantic import BaseModel

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.errors import (
    ConfigError,
    EmptyCollectionError,
    EmptyDocumentError,
    FingerprintMismatchError,
    StoreError,
    UnknownDocumentError,
)
from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex
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
    with pytest.raises(EmptyCollectionError, match="were chosen"):
        index.as_query_engine(filters=of("kind", "none")).query("Who?")
    with pytest.raises(ConfigError, match="'year' >"):
        index.choose(of("year", "x", FilterOperator.GT), None)
    with pytest.raises(UnknownDocumentError, match=r"isle\.md"):
        index.as_query_engine(doc_ids=["isle"]).query("Who?")


def test_more_memory_than_fits(index: RCCMemoryIndex) -> None:
    asked: list[int] = []
    prepare = index.reader._asker.prepare
    index.reader._asker.prepare = lambda request: (asked.append(1), prepare(request))[1]  # type: ignore[method-assign]
    for mode, calls in (("compact", 1), ("accumulate", 3), ("refine", 3), ("tree_summarize", 4)):
        asked.clear()
        said = index.as_query_engine(response_mode=mode, max_windows=1).query("Who approves leave?")
        windows = sum(record.windows for record in index.reader.collections())
        assert windows == 3 and len(asked) == calls and str(said)
        assert len(said.source_nodes) == (1 if mode == "compact" else 3)
    whole = index.as_query_engine(response_mode="tree_summarize").query("Who approves leave?")
    assert str(whole) == str(index.as_query_engine().query("Who approves leave?"))
    with pytest.raises(ConfigError, match="response_mode"):
        index.as_query_engine(response_mode="best")


def test_an_answer_can_be_an_object(index: RCCMemoryIndex) -> None:
    llm = RCCLLM(reader=index.reader, max_tokens=100)
    assert isinstance(index.as_query_engine(llm=llm, output_cls=Answered).query("How many?").response, Answered)


def test_a_stock_pipeline_takes_the_retriever(index: RCCMemoryIndex) -> None:
    engine = RetrieverQueryEngine.from_args(index.as_retriever(), llm=index.llm)
    assert engine.query("Who approves leave?").source_nodes


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


def test_what_cannot_go_in_is_named_and_nothing_is_left_of_it(index: RCCMemoryIndex) -> None:
    bad = pages()[0].model_copy(update={"id_": "bad"})
    bad.set_content("   ")
    with pytest.raises(EmptyDocumentError, match="bad"):
        index.insert(bad)
    assert "bad" not in index.ref_doc_info and "bad#whole" not in index.docstore.docs
    with pytest.raises(TypeError, match="node_postprocessors"):
        index.as_query_engine(node_postprocessors=[])


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


def persisted(folder: Path, saved_model: Path) -> Path:
    index = RCCMemoryIndex.from_documents(pages(), store=folder / "memory", collection="isle", model=saved_model)
    index.storage_context.persist(str(folder / "storage"))
    index.close()
    return folder / "storage"


def test_a_new_process_loads_it(tmp_path: Path, saved_model: Path) -> None:
    storage = persisted(tmp_path, saved_model)
    code = (
        "import sys, rcc_integrations.llamaindex\n"
        "from llama_index.core import StorageContext, load_index_from_storage\n"
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
