"""Faults of the framework that do not reach our users."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import TextNode

from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex, WholeDocuments
from tests.llamaindex.conftest import pages
from tests.tiny import TEXT


def parsed(llm: RCCLLM) -> RCCMemoryIndex:
    splitter = SentenceSplitter(chunk_size=40, chunk_overlap=0)
    return RCCMemoryIndex.from_documents([Document(text=TEXT * 2, id_="a")], llm=llm, transformations=[splitter])


def test_all_nodes_of_a_document_are_deleted(llm: RCCLLM) -> None:
    index = parsed(llm)
    assert len(index.ref_doc_info["a"].node_ids) > 3
    index.delete_ref_doc("a", delete_from_docstore=True)
    assert index.is_empty and not index.docstore.docs and not index.docstore.get_all_ref_doc_info()


def test_no_node_of_the_old_text_is_left_after_a_refresh(llm: RCCLLM) -> None:
    index = parsed(llm)
    assert index.refresh_ref_docs([Document(text="The bell rings twice.", id_="a")]) == [True]
    assert [node.get_content() for node in index.docstore.docs.values()] == ["The bell rings twice."]
    assert [record.characters for record in index.reader.documents(index.collection)] == [21]


def test_a_deleted_document_comes_back_with_a_refresh(index: RCCMemoryIndex) -> None:
    index.delete_ref_doc("isle.md")  # the docstore keeps its hash
    assert list(index.ref_doc_info) == ["ferry.md"]
    assert index.refresh_ref_docs(pages()) == [False, True]
    assert set(index.ref_doc_info) == {"ferry.md", "isle.md"}


def test_a_refresh_goes_by_what_is_in_memory(llm: RCCLLM) -> None:
    index = RCCMemoryIndex(nodes=[], llm=llm)
    old, new = (Document(text=text, id_="a") for text in ("One bell.", "Two bells."))
    index.insert(old)
    index.insert_nodes(WholeDocuments()([new]))  # as an ingestion pipeline does
    assert index.refresh_ref_docs([new]) == [False] and index.refresh_ref_docs([old]) == [True]


def test_a_refresh_makes_whole_what_was_interrupted(llm: RCCLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    index, document = parsed(llm), Document(text=TEXT * 2, id_="a")
    parts = len(index.ref_doc_info["a"].node_ids)
    index.delete_nodes(index.ref_doc_info["a"].node_ids[1:])
    assert index.refresh_ref_docs([document]) == [True]
    assert len(index.ref_doc_info["a"].node_ids) == parts
    with monkeypatch.context() as patch:
        patch.setattr(index, "_take_out", lambda *_, **__: None)  # the process ends before the old nodes are gone
        index.insert(Document(text="The bell rings twice.", id_="a"))
    assert index.refresh_ref_docs([Document(text="The bell rings twice.", id_="a")]) == [True]
    assert [record.characters for record in index.reader.documents(index.collection)] == [21]


def test_no_transformations_means_whole_documents(llm: RCCLLM) -> None:
    index = RCCMemoryIndex.from_documents([Document(text=TEXT * 30, id_="a")], llm=llm, transformations=[])
    assert [record.id for record in index.reader.documents(index.collection)] == ["a"]
    index.insert(Document(text=TEXT * 31, id_="a"))
    assert [record.characters for record in index.reader.documents(index.collection)] == [len(TEXT) * 31]


def test_an_identity_transformation_keeps_documents_deletable(llm: RCCLLM) -> None:
    def same(nodes: Any, **_: Any) -> Any:
        return nodes

    index = RCCMemoryIndex.from_documents([Document(text=TEXT, id_="a")], llm=llm, transformations=[same])  # type: ignore[list-item]
    assert list(index.ref_doc_info) == ["a"]
    index.delete_ref_doc("a")
    assert index.is_empty


def test_nodes_may_be_any_sequence(llm: RCCLLM) -> None:
    index = RCCMemoryIndex(nodes=(TextNode(text="One.", id_="n"),), llm=llm)
    index.insert_nodes((TextNode(text="Two.", id_="m"),))
    assert [record.id for record in index.reader.documents(index.collection)] == ["n", "m"]


async def test_inserting_nodes_leaves_the_event_loop_free_and_drops_no_option(llm: RCCLLM) -> None:
    index = RCCMemoryIndex(nodes=[], llm=llm)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.002)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await index.ainsert_nodes([TextNode(text=f"Page {n}. " + TEXT * 8) for n in range(8)])
    ticking.cancel()
    assert ticks >= 5
    with pytest.raises(TypeError, match="batch_size"):
        await index.ainsert_nodes([], batch_size=3)
