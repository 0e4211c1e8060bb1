"""`Contents`: what an index's collection holds, seen as LlamaIndex's nodes and documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.errors import UnknownCollectionError, UnknownDocumentError
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.llamaindex import events
from rcc_integrations.llamaindex.nodes import Cut, Stored, document_of, node_of
from rcc_integrations.llamaindex.nodes_held import HeldNodes
from rcc_integrations.memory.records import CollectionRecord
from rcc_integrations.reader.reader import RCCReader

_log = logging.getLogger(__name__)


class Contents:
    """The nodes of one collection. The store alone says what is there; what is held here is of its revision.

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
        self._held: HeldNodes | None = None
        self._lock = ForkSafeLock()

    @property
    def record(self) -> CollectionRecord | None:
        """The collection's record, if there is the collection."""
        try:
            return self.reader.store.collection(self.collection)
        except UnknownCollectionError:
            return None

    def held(self) -> HeldNodes:
        """Return what is there; it is read again only if somebody else changed it."""
        record = self.record
        with self._lock:
            if record is None:
                return HeldNodes("", 0, ())
            held = self._held
            if held is None or (held.uid, held.revision) != (record.uid, record.revision):
                snapshot = self.reader.store.snapshot(self.collection)
                held = HeldNodes(snapshot.collection.uid, snapshot.collection.revision, snapshot.documents)
                self._held = held
            return held

    def stored(self) -> list[Stored]:
        """Return what is there, in order."""
        return list(self.held())

    def nodes(self) -> list[BaseNode]:
        """Return the nodes that are there, with their texts, in order."""
        if self.record is None:
            return []
        text = self.reader.store.text
        return [
            node_of(record.id, record.metadata, text(record.text_key))
            for record in self.reader.documents(self.collection)
        ]

    def put(
        self,
        nodes: Sequence[BaseNode],
        cuts: Mapping[str, Cut],
        *,
        show_progress: bool = False,
        check: Callable[..., None] | None = None,
    ) -> None:
        """Compress nodes; those that are there unchanged cost nothing.

        Args:
            nodes: The nodes.
            cuts: By document id, how those were cut whose nodes are all here.
            show_progress: Show a progress bar.
            check: Called between batches; what it raises ends the work.
        """
        if not nodes:
            return
        made_with: Any = self._made_with
        documents = [document_of(node, cuts) for node in nodes]
        before = self.held()
        with events.compressing(self.collection) as tell:
            report = self.reader.add(
                self.collection, documents, show_progress=show_progress, on_progress=check, **made_with
            )
            tell(report)
        changed = [*report.added, *report.replaced]
        record = self.record
        with self._lock:
            same = record is not None and before.uid in ("", record.uid)
            if record is None or not same or record.revision != before.revision + len(changed):
                self._held = None  # somebody else changed it meanwhile
                return
            if before.uid == "":
                self._held = before = HeldNodes(record.uid, record.revision, ())
            elif self._held is not before:
                self._held = None
                return
            for each in self.reader.store.find_documents(self.collection, changed).values():
                before.put(each)
            before.uid, before.revision = record.uid, record.revision

    def remove(self, gone: Iterable[Stored]) -> None:
        """Remove nodes, all at one instant."""
        ids = [each.document for each in gone]
        if not ids:
            return
        before = self.held()
        self.reader.delete(self.collection, ids)
        record = self.record
        with self._lock:
            if record is None or record.revision != before.revision + 1 or self._held is not before:
                self._held = None
                return
            for id in ids:
                before.drop(id)
            before.revision = record.revision

    def sources(self) -> dict[str, RefDocInfo]:
        """Return the documents that nodes were made from, with their nodes."""
        found: dict[str, RefDocInfo] = {}
        for each in self.stored():
            if each.source is not None:
                info = found.setdefault(each.source, RefDocInfo(metadata=dict(each.metadata)))
                info.node_ids.append(each.node)
        return found

    def choose(
        self,
        filters: MetadataFilters | None,
        sources: Sequence[str] | None = None,
        nodes: Sequence[str] | None = None,
    ) -> list[str] | None:
        """Return ids in the collection of what filters and documents leave; `None` where nothing is filtered.

        Raises:
            UnknownDocumentError: A document is named that does not exist.
        """
        if sources is None and nodes is None and (filters is None or not filters.filters):
            return None
        held = self.held()
        if nodes is not None:
            kept = [each for node in nodes if (each := held.of_node(node)) is not None]
            named = set(sources or ())
            return held.passing(filters, [each for each in kept if sources is None or each.source in named])
        if sources is None:
            return held.passing(filters)
        among: list[Stored] = []
        for name in dict.fromkeys(sources):
            its_nodes = held.of_source(name)
            if not its_nodes:
                raise UnknownDocumentError(name, self.collection, sorted(held.sources()))
            among += its_nodes
        return held.passing(filters, among)

    def of_sources(self, sources: Iterable[str]) -> list[Stored]:
        """Return the nodes of some documents."""
        held = self.held()
        return [each for source in sources for each in held.of_source(source)]

    def holds(self, documents: Sequence[Document]) -> list[bool]:
        """Tell of documents whether they are there as they are, with all of their nodes and none of another text."""
        held = self.held()

        def whole(document: Document) -> bool:
            there = held.of_source(document.id_)
            return (
                bool(there)
                and {each.hash for each in there} == {document.hash}
                and {each.parts for each in there} <= {None, len(there)}
            )

        return [whole(document) for document in documents]

    def named(self, nodes: Sequence[str]) -> list[Stored]:
        """Return those of some nodes that are there; the others are logged."""
        held = self.held()
        found = []
        for node in dict.fromkeys(nodes):
            if (each := held.of_node(node)) is not None:
                found.append(each)
            else:
                _log.warning("Node %r is not in collection %r: nothing deleted for it.", node, self.collection)
        return found
