"""`ChangingIndex`: what puts documents into an index's memory and takes them out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.indices.base import BaseIndex
from llama_index.core.ingestion import run_transformations
from llama_index.core.schema import BaseNode, Document, IndexNode
from llama_index.core.storage.docstore.types import RefDocInfo

from rcc_integrations.llamaindex.collection import Contents
from rcc_integrations.llamaindex.nodes import Cut, Stored, as_node
from rcc_integrations.llamaindex.struct import RCCMemoryStruct

_log = logging.getLogger(__name__)


class ChangingIndex(BaseIndex[RCCMemoryStruct]):
    """The half of `RCCMemoryIndex` that makes changes: the store is the source of truth, and the docstore follows it.

    Threads may share an index; its changes are serialised.
    """

    #: What is there, and who changes it; set before LlamaIndex's own constructor builds the index.
    _contents: Contents
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
        no_options(build_kwargs)
        self._index_struct = RCCMemoryStruct()
        self._bring_in_line()  # the collection may have been there before
        self._insert(nodes)
        return self._index_struct

    def _insert(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        no_options(insert_kwargs)
        self._put(nodes, {})

    def _put(self, nodes: Sequence[BaseNode], cuts: Mapping[str, Cut]) -> None:
        taken = [as_node(node) for node in nodes]
        with self._changing:
            # Memory first: what could not be compressed is not in the docstore either.
            self._contents.put(taken, cuts, show_progress=self._show_progress)
            self.docstore.add_documents(taken, allow_update=True)
            for source, cut in cuts.items():
                self.docstore.set_document_hash(source, cut.hash)
            self._note()

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
        no_options(insert_kwargs)
        with self._callback_manager.as_trace("insert"):
            self._replace([document])

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Replace a document; readers see the old one until the new one is complete.

        Args:
            document: The document.
            **update_kwargs: None are accepted.
        """
        no_options({name: value for name, value in update_kwargs.items() if value})
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
        no_options({name: value for name, value in update_kwargs.items() if value})
        with self._callback_manager.as_trace("refresh_ref_docs"), self._changing:
            # What the store says, not the docstore: that one may know documents that are not in memory.
            changed = [not there for there in self._contents.holds(documents)]
            self._replace([document for document, new in zip(documents, changed, strict=True) if new])
            return changed

    def _replace(self, documents: Sequence[Document]) -> None:
        """Put documents in, and remove what else there is of them."""
        if not documents:
            return
        hashes = {document.id_: document.hash for document in documents}
        nodes = run_transformations(list(documents), self._transformations, show_progress=self._show_progress)
        taken = [as_node(node) for node in nodes]
        sources = [node.ref_doc_id for node in taken]
        cuts = {source: Cut(hash, sources.count(source)) for source, hash in hashes.items() if source in sources}
        with self._changing:
            kept = {node.node_id for node in taken}
            old = [each for each in self._contents.stored() if each.source in hashes and each.node not in kept]
            self._put(taken, cuts)
            # A document that was whole and is in parts now, or the other way round, keeps no id of the other kind.
            self._take_out(old, delete_from_docstore=True)

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
        no_options(delete_kwargs)
        with self._changing:
            self._take_out(self._contents.named(list(node_ids)), delete_from_docstore)

    def delete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Remove a document and all its nodes from memory; an unknown id is logged.

        Args:
            ref_doc_id: Id of the document.
            delete_from_docstore: Remove it from LlamaIndex's docstore as well.
            **delete_kwargs: None are accepted.
        """
        no_options(delete_kwargs)
        with self._changing:
            gone = [each for each in self._contents.stored() if each.source == ref_doc_id]
            if not gone:
                _log.warning("Document %r is not in collection %r: nothing deleted.", ref_doc_id, self.collection)
            self._take_out(gone, delete_from_docstore)
            if delete_from_docstore:
                self.docstore.delete_ref_doc(ref_doc_id, raise_error=False)

    def _take_out(self, gone: Sequence[Stored], delete_from_docstore: bool) -> None:
        self._contents.remove(gone)
        if delete_from_docstore:
            for each in gone:
                self.docstore.delete_document(each.node, raise_error=False)
        self._note()

    # Keeping LlamaIndex's storage in line

    @property
    def collection(self) -> str:
        """Name of the collection."""
        return self._contents.collection

    def _note(self) -> None:
        struct, reader, record = self._index_struct, self._contents.reader, self._contents.record
        struct.store, struct.store_id, struct.collection = str(reader.store.path), reader.store.id, self.collection
        if record is not None:
            struct.uid, struct.fingerprint = record.uid, record.fingerprint
        struct.nodes = [each.node for each in self._contents.stored()]
        self._storage_context.index_store.add_index_struct(struct)

    def _bring_in_line(self) -> None:
        """Tell the docstore what the store holds: it may have been written since, or never been kept."""
        nodes = self._contents.nodes()
        there = {node.node_id for node in nodes}
        for node in self._index_struct.nodes:
            if node not in there:
                self.docstore.delete_document(node, raise_error=False)
        if nodes:
            self.docstore.add_documents(nodes, allow_update=True)
        for each in self._contents.stored():
            if each.source is not None and each.hash is not None:
                self.docstore.set_document_hash(each.source, each.hash)
        self._note()


def no_options(options: Mapping[str, Any]) -> None:
    """Refuse options that there are not, instead of dropping them.

    Raises:
        TypeError: If there is one.
    """
    if options:
        raise TypeError(f"RCCMemoryIndex takes no {sorted(options)[0]!r} here.")
