from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rcc_integrations.memory.records import DocumentRecord, WindowRecord
from rcc_integrations.memory.store import MemoryStore


def key_for(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def text_key(text: str) -> str:
    """The name under which a store of any version keeps a text; written down here so that it cannot change unseen."""
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


def memory(seed: int = 0, slots: int = 8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(3, 2, slots, 4, generator=generator) for name in ("key", "value")}


def window(name: str, end: int, slots: int = 8) -> WindowRecord:
    return WindowRecord(key_for(name), 0, end, 2 * slots, slots)


def add(
    store: MemoryStore, collection: str, document: str, text: str, *names: str, digest: str = "", **metadata: object
) -> DocumentRecord:
    """Put a document with one window for each name (its text, if there is none)."""
    names = names or (text,)
    store.put_blobs({key_for(name): memory(len(name)) for name in names}, storage="int8")
    windows = [window(name, len(text)) for name in names]
    return store.put_document(
        collection, document, text, windows=windows, tokens=len(text), digest=digest, metadata=metadata
    )


def files(store: MemoryStore) -> set[str]:
    """Names of all files that hold memories or texts."""
    return {path.name for part in ("blobs", "texts") for path in (store.path / part).rglob("*") if path.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    with MemoryStore.open(tmp_path / "store") as store:
        store.create_collection("notes", fingerprint="f1", model={"base": "tiny", "ratio": 4})
        yield store
