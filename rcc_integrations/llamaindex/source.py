"""`MemorySource`: what engines and retrievers need of an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.reader.reader import RCCReader


class MemorySource(Protocol):
    """A collection of a store, as engines and retrievers see it; `RCCMemoryIndex` is one."""

    @property
    def reader(self) -> RCCReader:
        """The reader that answers."""
        ...

    @property
    def collection(self) -> str:
        """Name of the collection."""
        ...

    @property
    def is_empty(self) -> bool:
        """Whether the collection has no documents."""
        ...

    def choose(
        self, filters: MetadataFilters | None, doc_ids: Sequence[str] | None, node_ids: Sequence[str] | None = None
    ) -> list[str] | None:
        """Return ids of the documents that pass; `None` where nothing is filtered."""
        ...
