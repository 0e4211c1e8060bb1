"""The examples run as they stand, over a tiny random model."""

from __future__ import annotations

from pathlib import Path

import pytest
from llama_index.core import Document

from examples.llamaindex import (
    chat_engine,
    ingestion_pipeline,
    readers,
    refresh_folder,
    router,
    swap_vector_store_index,
)
from rcc_integrations import RCCReader
from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex
from tests.llamaindex.conftest import pages


def test_five_lines(llm: RCCLLM) -> None:
    assert "Source" in swap_vector_store_index.main(llm=llm)


def test_readers_and_filters(llm: RCCLLM) -> None:
    assert set(readers.main(llm=llm)) == {"leave.md"}


def test_a_folder_stays_in_step(reader: RCCReader, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "a.md").write_text("The ferry leaves at 7:45.")
    (folder / "b.md").write_text("Nobody sails in a storm.")
    assert refresh_folder.sync(folder, refresh_folder.open_index(reader)) == (2, 0)
    assert refresh_folder.sync(folder, refresh_folder.open_index(reader)) == (0, 0)
    (folder / "b.md").unlink()
    (folder / "a.md").write_text("The ferry leaves at 8:15.")
    assert refresh_folder.sync(folder, refresh_folder.open_index(reader)) == (1, 1)


def test_a_talk(index: RCCMemoryIndex, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat_engine.talk(index, ["Who approves leave?", "And who else?"]) == 4
    assert "[ferry.md, " in capsys.readouterr().out


def test_a_pipeline_brings_nothing_twice(llm: RCCLLM) -> None:
    index = RCCMemoryIndex(nodes=[], llm=llm)
    pipeline = ingestion_pipeline.make_pipeline()
    documents = [*pages(), Document(id_="h.md", text="# Bells\nThe bell rings twice.")]
    assert [ingestion_pipeline.ingest(pipeline, index, documents) for _ in range(2)] == [3, 0]
    assert index.reader.text(index.collection, "h.md").startswith("Bells")
    assert set(index.ref_doc_info) == {"ferry.md", "isle.md", "h.md"}


def test_a_router(reader: RCCReader) -> None:
    assert router.make_router(RCCLLM(reader=reader, max_tokens=300)).query("When does the ferry leave?").source_nodes
