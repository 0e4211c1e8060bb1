"""`ChangingIndex`: what puts documents into an index's memory and takes them out."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from llama_index.core.indices.base import BaseIndex
from llama_index.core.ingestion import run_transformations
from llama_index.core.schema import BaseNode, Document, IndexNode, MetadataMode
from llama_index.core.storage.docstore.types import RefDocInfo

from rcc_integrations.errors import EmptyDocumentError, UnknownArgumentError
from rcc_integrations.llamaindex.collection import Contents
from rcc_integrations.llamaindex.known_again import known_again
from rcc_integrations.llamaindex.nodes import Cut, Stored, as_node
from rcc_integrations.llamaindex.serial_worker import check_wanted
from rcc_integrations.llamaindex.struct import RCCMemoryStruct

NodeT = TypeVar("NodeT", bound=BaseNode)

_log = logging.getLogger(__name__)

#: Metadata that say where a document comes from, as readers name them.
_WHENCE = {"file_name": "file", "file_path": "file", "source": "source", "page_label": "page"}


class ChangingIndex(BaseIndex[RCCMemoryStruct]):
    """The half of `RCCMemoryIndex` that makes changes: the store is the source of truth, and the docstore follows it.

    Threads may share an index; its changes are serialised.
    """

    #: What is there, and who changes it; set before LlamaIndex's own constructor builds the index.
    _contents: Contents
    _strict: bool
    _changing: threading.RLock

    @property
    def ref_doc_info(self) -> dict[str, RefDocInfo]:
        """The documents of the index, with their nodes and metadata, in order of first insertion."""
        return self._contents.sources()

    # Putting in

    def build_index_from_nodes(self, nodes: Sequence[BaseNode], **build_kwargs: Any) -> RCCMemoryStruct:
        """Compress nodes, then add them to the docstore."""
        return self._build_index_from_nodes(nodes, **build_kwargs)

    def _build_index_from_nodes(self, nodes: Sequence[BaseNode], **build_kwargs: Any) -> RCCMemoryStruct:
        no_options("RCCMemoryIndex", build_kwargs)
        self._index_struct = RCCMemoryStruct()
        self._bring_in_line()  # the collection may have been there before
        self._insert(nodes)
        return self._index_struct

    def _insert(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        no_options("RCCMemoryIndex.insert_nodes", insert_kwargs)
        self._put(nodes, {})

    def _put(self, nodes: Sequence[BaseNode], cuts: Mapping[str, Cut]) -> None:
        taken = with_text([as_node(node) for node in nodes], strict=self._strict, collection=self.collection)
        with self._changing:
            try:
                # Memory first: what could not be compressed is not in the docstore either.
                self._contents.put(taken, cuts, show_progress=self._show_progress, check=check_wanted)
            finally:
                # Of work that was ended or failed, what was done before is there.
                held = self._contents.held()
                there = [node for node in taken if held.of_node(node.node_id) is not None]
                if there:
                    self.docstore.add_documents(there, allow_update=True)
                for source, cut in cuts.items():
                    if held.of_source(source):
                        self.docstore.set_document_hash(source, cut.hash)
                self._note(added=[node.node_id for node in there])

    def insert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Compress nodes, or replace those with the same id.

        Args:
            nodes: The nodes.
            **insert_kwargs: None are accepted.
        """
        nodes = list(nodes)
        for node in nodes:
            if isinstance(node, IndexNode) and node.obj is not None:
                self._object_map[node.index_id], node.obj = node.obj, None
        with self._callback_manager.as_trace("insert_nodes"):
            self._insert(nodes, **insert_kwargs)

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        """Add a document, or replace the one with the same id; unchanged windows are not compressed again.

        Args:
            document: The document.
            **insert_kwargs: None are accepted.
        """
        no_options("RCCMemoryIndex.insert", insert_kwargs)
        with self._callback_manager.as_trace("insert"):
            self._replace([document])

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Replace a document; readers see the old one until the new one is complete.

        Args:
            document: The document.
            **update_kwargs: None are accepted.
        """
        no_options("RCCMemoryIndex.update_ref_doc", {name: value for name, value in update_kwargs.items() if value})
        with self._callback_manager.as_trace("update_ref_doc"):
            self._replace([document])

    def refresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Add documents that are new, have changed in text or metadata, or are incomplete.

        Args:
            documents: The documents.
            **update_kwargs: None are accepted.

        Returns:
            For each document, whether it was added.
        """
        no_options("RCCMemoryIndex.refresh_ref_docs", {name: value for name, value in update_kwargs.items() if value})
        with self._callback_manager.as_trace("refresh_ref_docs"), self._changing:
            # What the store says, not the docstore: that one may know documents that are not in memory.
            changed = [not there for there in self._contents.holds(documents)]
            put = self._replace([document for document, new in zip(documents, changed, strict=True) if new])
            return [document.id_ in put for document in documents]

    def _replace(self, documents: Sequence[Document]) -> set[str]:
        """Put documents in, and remove what else there is of them; return the ids of those that were put in."""
        if not documents:
            return set()
        with self._changing:
            documents, gone = known_again(documents, self._contents.held(), self.collection)
            hashes = {document.id_: document.hash for document in documents}
            written = with_text(documents, strict=self._strict, collection=self.collection)
            nodes = run_transformations(list(written), self._transformations, show_progress=self._show_progress)
            taken = [as_node(node) for node in nodes if node.get_content(MetadataMode.NONE).strip()]
            parts = Counter(node.ref_doc_id for node in taken)
            cuts = {source: Cut(hash, parts[source]) for source, hash in hashes.items() if parts[source]}
            kept = {node.node_id for node in taken}
            old = [each for each in self._contents.of_sources(hashes) if each.node not in kept]
            self._put(taken, cuts)
            # A document that was whole and is in parts now, or the other way round, keeps no id of the other kind; of
            # one that has no text any more nothing stays.
            self._take_out([*old, *gone], delete_from_docstore=True)
        return {document.id_ for document in written}

    # Taking out

    def _delete_node(self, node_id: str, **delete_kwargs: Any) -> None:
        self.delete_nodes([node_id], **delete_kwargs)

    def delete_nodes(self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Remove nodes from memory in one transaction; unknown ids are logged.

        Args:
            node_ids: Ids of the nodes.
            delete_from_docstore: Remove them from LlamaIndex's docstore as well.
            **delete_kwargs: None are accepted.
        """
        no_options("RCCMemoryIndex.delete_nodes", delete_kwargs)
        with self._changing:
            self._take_out(self._contents.named(list(node_ids)), delete_from_docstore)

    def delete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Remove a document and all its nodes from memory; an unknown id is logged.

        Args:
            ref_doc_id: Id of the document.
            delete_from_docstore: Remove it from LlamaIndex's docstore as well.
            **delete_kwargs: None are accepted.
        """
        no_options("RCCMemoryIndex.delete_ref_doc", delete_kwargs)
        with self._changing:
            gone = self._contents.of_sources([ref_doc_id])
            if not gone:
                _log.warning("Document %r is not in collection %r: nothing deleted.", ref_doc_id, self.collection)
            self._take_out(gone, delete_from_docstore)
            if delete_from_docstore:
                self.docstore.delete_ref_doc(ref_doc_id, raise_error=False)

    def _take_out(self, gone: Sequence[Stored], delete_from_docstore: bool) -> None:
        if not gone:
            return
        self._contents.remove(gone)
        if delete_from_docstore:
            for each in gone:
                self.docstore.delete_document(each.node, raise_error=False)
        self._note(removed=[each.node for each in gone])

    # Keeping LlamaIndex's storage in line

    @property
    def collection(self) -> str:
        """Name of the collection."""
        return self._contents.collection

    def _note(self, added: Iterable[str] = (), removed: Iterable[str] = ()) -> None:
        struct, reader, record = self._index_struct, self._contents.reader, self._contents.record
        struct.store, struct.store_id, struct.collection = str(reader.store.path), reader.store.id, self.collection
        if record is not None:
            struct.uid, struct.fingerprint = record.uid, record.fingerprint
        for node in added:
            struct.nodes.add(node)
        for node in removed:
            struct.nodes.discard(node)
        self._storage_context.index_store.add_index_struct(struct)

    def _bring_in_line(self) -> None:
        """Tell the docstore what the store holds: it may have been written since, or never been kept."""
        nodes = self._contents.nodes()
        there = {node.node_id for node in nodes}
        lost = [node for node in self._index_struct.nodes if node not in there]
        for node in lost:
            self.docstore.delete_document(node, raise_error=False)
        if nodes:
            self.docstore.add_documents(nodes, allow_update=True)
        for each in self._contents.stored():
            if each.source is not None and each.hash is not None:
                self.docstore.set_document_hash(each.source, each.hash)
        self._note(added=there, removed=lost)


def no_options(where: str, options: Mapping[str, Any]) -> None:
    """Refuse unknown options instead of ignoring them.

    Raises:
        UnknownArgumentError: If there is one.
    """
    if options:
        raise UnknownArgumentError(where, sorted(options)[0], ())


def with_text(nodes: Sequence[NodeT], *, strict: bool, collection: str) -> list[NodeT]:
    """Leave out nodes and documents without text, with a warning that says where they come from.

    Args:
        nodes: The nodes.
        strict: Raise instead.
        collection: Name of the collection, for the warning.

    Raises:
        EmptyDocumentError: If there is one, and `strict`.
    """
    kept = []
    for node in nodes:
        if node.get_content(MetadataMode.NONE).strip():
            kept.append(node)
            continue
        whence = {label: node.metadata[name] for name, label in _WHENCE.items() if name in node.metadata}
        where = ", ".join(f"{label} {value!r}" for label, value in whence.items())
        named = f"Document {node.ref_doc_id or node.node_id!r}{f' ({where})' if where else ''} has no text"
        if strict:
            raise EmptyDocumentError(f"{named}: leave it out, or build the index with strict=False.")
        _log.warning("%s; it is not in collection %r.", named, collection)
    return kept
