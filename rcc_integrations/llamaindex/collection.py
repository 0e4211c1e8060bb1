"""`Contents`: what an index's collection holds, seen as LlamaIndex's nodes and documents."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.errors import UnknownCollectionError, UnknownDocumentError
from rcc_integrations.llamaindex import events
from rcc_integrations.llamaindex.filters import fits
from rcc_integrations.llamaindex.nodes import Cut, Stored, document_of, node_of, stored
from rcc_integrations.memory.records import CollectionRecord
from rcc_integrations.reader.reader import RCCReader

_log = logging.getLogger(__name__)


class Contents:
    """The nodes of one collection. The store alone says what is there; nothing is held here.

    Args:
        reader: The reader.
        collection: Name of the collection; made when the first node comes.
        ratio: Compression ratio of a new collection; the model's default if not given.
        storage: Number format of the memories of a new collection.
    """

    def __init__(
        self, reader: RCCReader, collection: str, ratio: int | None = None, storage: str | None = None
    ) -> None:
        self.reader, self.collection = reader, collection
        self._made_with = {"ratio": ratio, "storage": storage}

    @property
    def record(self) -> CollectionRecord | None:
        """The collection's record, if there is the collection."""
        try:
            return self.reader.store.collection(self.collection)
        except UnknownCollectionError:
            return None

    def stored(self) -> list[Stored]:
        """Return what is there, in order."""
        if self.record is None:
            return []
        return [stored(record) for record in self.reader.documents(self.collection)]

    def nodes(self) -> list[BaseNode]:
        """Return the nodes that are there, with their texts, in order."""
        if self.record is None:
            return []
        text = self.reader.store.text
        return [
            node_of(record.id, record.metadata, text(record.text_key))
            for record in self.reader.documents(self.collection)
        ]

    def put(self, nodes: Sequence[BaseNode], cuts: Mapping[str, Cut], *, show_progress: bool = False) -> None:
        """Compress nodes; those that are there unchanged cost nothing.

        Args:
            nodes: The nodes.
            cuts: By document id, how those were cut whose nodes are all here.
            show_progress: Show a progress bar.
        """
        if not nodes:
            return
        made_with: Any = self._made_with
        documents = [document_of(node, cuts) for node in nodes]
        with events.compressing(self.collection) as tell:
            tell(self.reader.add(self.collection, documents, show_progress=show_progress, **made_with))

    def remove(self, gone: Iterable[Stored]) -> None:
        """Remove nodes, all at one instant."""
        ids = [each.document for each in gone]
        if ids:
            self.reader.delete(self.collection, ids)

    def sources(self) -> dict[str, RefDocInfo]:
        """Return the documents that nodes were made from, with their nodes."""
        found: dict[str, RefDocInfo] = {}
        for each in self.stored():
            if each.source is not None:
                info = found.setdefault(each.source, RefDocInfo(metadata=dict(each.metadata)))
                info.node_ids.append(each.node)
        return found

    def choose(self, filters: MetadataFilters | None, sources: Sequence[str] | None) -> list[str] | None:
        """Return ids in the collection of what filters and documents leave; `None` where nothing is filtered.

        Raises:
            UnknownDocumentError: A document is named that there is not.
        """
        if sources is None and (filters is None or not filters.filters):
            return None
        there = self.stored()
        if sources is not None:
            known = {each.source for each in there if each.source is not None}
            for name in sources:
                if name not in known:
                    raise UnknownDocumentError(name, self.collection, sorted(known))
            there = [each for each in there if each.source in set(sources)]
        return [each.document for each in there if fits(filters, each.metadata)]

    def holds(self, documents: Sequence[Document]) -> list[bool]:
        """Tell of documents whether they are there as they are, with all of their nodes and none of another text."""
        there: dict[str | None, list[Stored]] = {}
        for each in self.stored():
            there.setdefault(each.source, []).append(each)
        return [
            document.id_ in there
            and {each.hash for each in there[document.id_]} == {document.hash}
            and {each.parts for each in there[document.id_]} <= {None, len(there[document.id_])}
            for document in documents
        ]

    def named(self, nodes: Sequence[str]) -> list[Stored]:
        """Return those of some nodes that are there; the others are logged."""
        there = {each.node: each for each in self.stored()}
        for node in nodes:
            if node not in there:
                _log.warning("Node %r is not in collection %r: nothing deleted for it.", node, self.collection)
        return [there[node] for node in dict.fromkeys(nodes) if node in there]
