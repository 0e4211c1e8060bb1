from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index

from rcc_integrations import RCCReader
from rcc_integrations.errors import RCCError
from rcc_integrations.langchain import RCCChatModel, RCCDocumentIndex


@pytest.fixture
def documents(reader: RCCReader) -> RCCDocumentIndex:
    return RCCDocumentIndex(reader=reader, collection="handbook", k=2)


@pytest.fixture
def records() -> Generator[InMemoryRecordManager]:
    manager = InMemoryRecordManager(namespace="handbook")
    manager.create_schema()
    yield manager


def page(text: str, source: str) -> Document:
    return Document(page_content=text, metadata={"source": source})


def texts(documents: RCCDocumentIndex) -> set[str]:
    reader = documents.memory
    return {reader.store.text(record.text_key) for record in reader.documents("handbook")}


@pytest.mark.parametrize("cleanup", [None, "incremental", "full", "scoped_full"])
def test_index_in_every_cleanup_mode(documents: RCCDocumentIndex, records: InMemoryRecordManager, cleanup: Any) -> None:
    def run(*pages: Document) -> dict[str, int]:
        return dict(index(list(pages), records, documents, cleanup=cleanup, source_id_key="source",
                          key_encoder="sha256"))  # fmt: skip

    old, other = page("The ferry leaves at 7:45.", "ferry.md"), page("Nobody sails in a storm.", "storm.md")
    assert run(old, other)["num_added"] == 2
    again = run(old, other)
    assert again["num_added"] == 0 and again["num_skipped"] == 2
    new = page("The ferry leaves at 8:15.", "ferry.md")
    changed = run(new)
    assert changed["num_added"] == 1
    left = {None: 3, "incremental": 2, "full": 1, "scoped_full": 2}
    assert len(texts(documents)) == left[cleanup] and new.page_content in texts(documents)
    assert changed["num_deleted"] == 3 - left[cleanup]
    # What was replaced is not in memory any more.
    found = {document.page_content for document in documents.invoke("When does the ferry leave?")}
    assert (old.page_content in found) == (cleanup is None)


def test_a_document_that_fails_is_tried_again(reader: RCCReader, records: InMemoryRecordManager) -> None:
    documents = RCCDocumentIndex(reader=reader, collection="handbook", strict=True)
    # `index` takes what did not raise for done, and would skip it for ever.
    bad, good = page("   ", "empty.md"), page("Nobody sails in a storm.", "storm.md")
    for _ in range(2):
        with pytest.raises(RCCError, match=r"empty|no text"):
            index([bad, good], records, documents, cleanup=None, source_id_key="source", key_encoder="sha256")
    found = index([good], records, documents, cleanup=None, source_id_key="source", key_encoder="sha256")
    assert found["num_added"] == 1


def test_windows_come_with_their_place_and_metadata(documents: RCCDocumentIndex) -> None:
    text = "The ferry leaves at 7:45. " + "Gulls sit on the wall. " * 30
    documents.upsert([Document(id="ferry", page_content=text, metadata={"year": 2026})])
    first = documents.invoke("When does the ferry leave?")[0]
    place = first.metadata
    assert place["document"] == "ferry" and place["year"] == 2026 and place["score"] > 0
    assert text[place["start"] : place["end"]] == first.page_content
    assert len(documents.invoke("gulls", k=1)) == 1
    assert documents.get(["ferry", "nothing"])[0].page_content == text


def test_changed_metadata_alone_are_a_change(documents: RCCDocumentIndex) -> None:
    documents.upsert([Document(id="a", page_content="Nobody sails.", metadata={"year": 1})])
    documents.upsert([Document(id="a", page_content="Nobody sails.", metadata={"year": 2})])
    assert documents.get(["a"])[0].metadata == {"year": 2}


def test_before_anything_is_added_nothing_is_found(tmp_path: Path, model: Any) -> None:
    documents = RCCDocumentIndex(reader=RCCReader.open(tmp_path / "new", model=model), collection="handbook")
    assert documents.invoke("Who?") == documents.get(["a"]) == []
    assert documents.delete(["a"])["num_deleted"] == 0


def test_what_is_put_in_is_what_the_chat_model_reads(documents: RCCDocumentIndex) -> None:
    documents.upsert([Document(id="storm", page_content="Nobody sails in a storm.")])
    said = RCCChatModel(reader=documents.memory, collection="handbook", max_tokens=4).invoke("Who sails?")
    assert said.response_metadata["sources"][0]["document"] == "storm"


def test_wrong_arguments_are_named(reader: RCCReader, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either store"):
        RCCDocumentIndex(collection="a")
    with pytest.raises(ValueError, match="either store"):
        RCCDocumentIndex(collection="a", store=tmp_path, reader=reader)
    with pytest.raises(ValueError, match="RCCReader"):
        RCCDocumentIndex(collection="a", reader="memory")
    with pytest.raises(ValueError, match="k must be"):
        RCCDocumentIndex(collection="a", reader=reader, k=0)
    documents = RCCDocumentIndex(collection="a", reader=reader)
    with pytest.raises(ValueError, match="ids="):
        documents.delete()
    with pytest.raises(TypeError, match="batch_size"):
        documents.upsert([], batch_size=3)
    same = [Document(id="a", page_content="One."), Document(id="a", page_content="Two.")]
    with pytest.raises(RCCError, match="'a'"):
        documents.upsert(same)
