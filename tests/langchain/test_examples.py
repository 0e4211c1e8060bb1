"""The examples run as they stand, over a tiny random model."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.indexing import InMemoryRecordManager

from examples.langchain import chat_with_history, index_folder, replace_your_retriever
from rcc_integrations import RCCReader
from rcc_integrations.langchain import RCCChatModel, RCCDocumentIndex


def test_the_same_chain_before_and_after(reader: RCCReader) -> None:
    reader.add("handbook", {"leave.md": "The warden approves leave."})
    for chain in (replace_your_retriever.before(reader), replace_your_retriever.after(reader)):
        assert isinstance(chain.invoke("Who approves leave?"), str)


def test_a_talk_keeps_its_history(reader: RCCReader, capsys: pytest.CaptureFixture[str]) -> None:
    reader.add("handbook", {"leave.md": "The warden approves leave."})
    history = chat_with_history.talk(reader, ["Who approves leave?", "And who else?"])
    assert len(history) == 4 and "[leave.md, 0-26]" in capsys.readouterr().out


async def test_the_endpoint_streams_and_refuses(reader: RCCReader) -> None:
    httpx = pytest.importorskip("httpx")
    from examples.langchain.fastapi_app import make_app

    model = RCCChatModel(reader=reader, max_tokens=12, min_tokens=4)
    transport = httpx.ASGITransport(app=make_app(model))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        said = await client.get("/ask", params={"collection": "isle", "question": "Who?"})
        wanted = await model.ainvoke("Who?", collection="isle")
        assert said.status_code == 200 and said.text == wanted.text
        missing = await client.get("/ask", params={"collection": "isles", "question": "Who?"})
        assert missing.status_code == 404 and "'isle'" in missing.text
        empty = await client.get("/ask", params={"collection": "isle", "question": "x" * 9000})
        assert empty.status_code == 400


def test_a_folder_is_indexed_once(reader: RCCReader, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("The ferry leaves at 7:45.")
    (folder / "b.md").write_text("Nobody sails in a storm.")
    records = InMemoryRecordManager(namespace="test")
    records.create_schema()
    documents = RCCDocumentIndex(reader=reader, collection="folder")
    assert index_folder.sync(folder, documents, records) == {
        "num_added": 2, "num_updated": 0, "num_skipped": 0, "num_deleted": 0}  # fmt: skip
    (folder / "b.md").unlink()
    (folder / "a.md").write_text("The ferry leaves at 8:15.")
    assert index_folder.sync(folder, documents, records) == {
        "num_added": 1, "num_updated": 0, "num_skipped": 0, "num_deleted": 2}  # fmt: skip
    assert [record.id for record in reader.documents("folder")] and len(reader.documents("folder")) == 1
    assert "8:15" in documents.invoke("When does the ferry leave?")[0].page_content
