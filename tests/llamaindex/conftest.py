from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, Settings

from rcc_integrations import RCCReader
from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex
from tests.tiny import TEXT

ISLE = "The isle of Holm has nine farms. Its lighthouse was built in 1871."


def pages() -> list[Document]:
    return [
        Document(text=TEXT, id_="ferry.md", metadata={"year": 2026, "kind": "notice"}),
        Document(text=ISLE, id_="isle.md", metadata={"year": 2020, "kind": "guide"}),
    ]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking LlamaIndex's global settings for a model fails every test here."""

    def refused(_: Any) -> Any:
        raise AssertionError("Settings were asked for a model")

    monkeypatch.setattr(type(Settings), "llm", property(refused))
    monkeypatch.setattr(type(Settings), "embed_model", property(refused))


@pytest.fixture
def reader(tmp_path: Path, model: Any) -> Generator[RCCReader]:
    """A reader over a tiny random model."""
    with RCCReader.open(tmp_path / "store", model=model) as reader:
        yield reader


@pytest.fixture
def llm(reader: RCCReader) -> RCCLLM:
    return RCCLLM(reader=reader, max_tokens=16, min_tokens=6)


@pytest.fixture
def index(llm: RCCLLM) -> RCCMemoryIndex:
    return RCCMemoryIndex.from_documents(pages(), llm=llm, collection="isle")
