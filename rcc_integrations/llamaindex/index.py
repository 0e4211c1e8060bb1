"""`RCCMemoryIndex`: LlamaIndex's index over compressed memory."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.indices.base import BaseIndex
from llama_index.core.indices.registry import INDEX_STRUCT_TYPE_TO_INDEX_CLASS
from llama_index.core.ingestion import run_transformations
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.schema import BaseNode, Document, IndexNode, TransformComponent
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.errors import ConfigError
from rcc_integrations.llamaindex.async_twins import AsyncTwins
from rcc_integrations.llamaindex.chat_engine import RCCChatEngine
from rcc_integrations.llamaindex.contents import Contents
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.nodes import as_node
from rcc_integrations.llamaindex.opening import open_reader
from rcc_integrations.llamaindex.query_engine import RCCQueryEngine
from rcc_integrations.llamaindex.retriever import RCCMemoryRetriever
from rcc_integrations.llamaindex.struct import STRUCT_TYPE, RCCMemoryStruct
from rcc_integrations.llamaindex.whole import WholeDocuments
from rcc_integrations.reader import RCCReader

dispatcher = get_dispatcher(__name__)
_log = logging.getLogger(__name__)


class RCCMemoryIndex(AsyncTwins, BaseIndex[RCCMemoryStruct]):
    """An index that compresses documents into memory once, and answers from it; no embedding model is needed.

    What is put in is durable when the call returns. The store alone says what is there; LlamaIndex's docstore is
    brought in line with it when an index is loaded. `Settings.llm` and `Settings.embed_model` are never asked.

    Example:
        ```python
        index = RCCMemoryIndex.from_documents(documents, store="memory/", collection="handbook")
        index.as_query_engine().query("Who approves leave?")
        ```

    Args:
        nodes: Nodes to build it from.
        objects: Nodes that stand for other retrievers or engines.
        index_struct: What LlamaIndex's storage kept of an index made before.
        storage_context: LlamaIndex's storage.
        callback_manager: Of LlamaIndex.
        transformations: From documents to nodes; whole documents if not given.
        show_progress: Draw a progress bar.
        store: Folder of the store; `memory` if not given, or the one that an index made before has.
        collection: Name of the collection; a new one if not given.
        reader: An open reader to share instead of opening `store`.
        llm: An `RCCLLM` to share and to answer with.
        ratio: Compression ratio of a new collection; the model's own if not given.
        storage: How a new collection stores memories: `int8`, `bfloat16` or `float32`.
        document_hashes: Hashes of the documents that nodes were made from, if they differ from what nodes say.
        **model_options: `model`, `base`, `device`, `dtype` and other options of `RCCReader.open`.

    Raises:
        ConfigError: If arguments exclude one another.
        StoreError: If the store of an index made before is not there, or is another one.
        FingerprintMismatchError: If its collection was made by another model since.
    """

    index_struct_cls = RCCMemoryStruct

    def __init__(
        self,
        nodes: Sequence[BaseNode] | None = None,
        objects: Sequence[IndexNode] | None = None,
        index_struct: RCCMemoryStruct | None = None,
        storage_context: StorageContext | None = None,
        callback_manager: Any = None,
        transformations: Sequence[TransformComponent] | None = None,
        show_progress: bool = False,
        *,
        store: str | Path | None = None,
        collection: str | None = None,
        reader: RCCReader | None = None,
        llm: RCCLLM | None = None,
        ratio: int | None = None,
        storage: str | None = None,
        document_hashes: dict[str, str] | None = None,
        **model_options: Any,
    ) -> None:
        if llm is not None and not isinstance(llm, RCCLLM):
            raise ConfigError(f"llm must be an RCCLLM; it is {type(llm).__name__}. Others go into as_query_engine.")
        if index_struct is not None and collection is not None:
            index_struct.collection = collection
        self.reader, self._owned = open_reader(store, reader, llm, index_struct, model_options)
        name = index_struct.collection if index_struct else collection or f"index-{uuid.uuid4().hex[:12]}"
        self._contents = Contents(self.reader, name, ratio, storage)
        self._llm = llm
        self._hashes = document_hashes or {}
        super().__init__(
            nodes=None if nodes is None else list(nodes),
            objects=None if objects is None else list(objects),
            index_struct=index_struct,
            storage_context=storage_context,
            callback_manager=callback_manager,
            transformations=list(transformations or [WholeDocuments()]),
            show_progress=show_progress,
        )
        if index_struct is not None:
            self._bring_in_line()

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        storage_context: StorageContext | None = None,
        show_progress: bool = False,
        callback_manager: Any = None,
        transformations: Sequence[TransformComponent] | None = None,
        **kwargs: Any,
    ) -> RCCMemoryIndex:
        """Build an index from documents, or add them to a collection that there is; unchanged ones cost nothing.

        Args:
            documents: The documents; they go in whole and are cut by the package's own windows.
            storage_context: LlamaIndex's storage.
            show_progress: Draw a progress bar.
            callback_manager: Of LlamaIndex.
            transformations: Such as a node parser; whole documents if not given or empty.
            **kwargs: Further arguments of the class.

        Raises:
            EmptyDocumentError: If a document has no text.
            ConfigError: If two documents have one id, or metadata is not JSON.
            StoreError: If the store cannot take them; those before stay.
        """
        chosen = list(transformations or [WholeDocuments()])
        hashes = {document.id_: document.hash for document in documents}
        index = cls(
            nodes=[], storage_context=storage_context, callback_manager=callback_manager, transformations=chosen,
            show_progress=show_progress, **kwargs,
        )  # fmt: skip
        index._hashes |= hashes
        index._replace(documents, run_transformations(list(documents), chosen, show_progress=show_progress))
        return index

    @classmethod
    def from_store(cls, store: str | Path | RCCReader, collection: str, **kwargs: Any) -> RCCMemoryIndex:
        """Open a collection that there is, whether it was made here, by `RCCReader` or by the `rcc` command.

        Args:
            store: The store's folder, or an open reader.
            collection: Name of the collection.
            **kwargs: Further arguments of the class.

        Raises:
            StoreError: If there is no such store.
            UnknownCollectionError: If there is no such collection.
        """
        model_options = {name: kwargs.pop(name) for name in _MODEL_OPTIONS if name in kwargs}
        owned = not isinstance(store, RCCReader)
        reader = store if isinstance(store, RCCReader) else RCCReader.open(store, create=False, **model_options)
        try:
            record = reader.store.collection(collection)
            struct = RCCMemoryStruct(
                store=str(reader.store.path), store_id=reader.store.id, collection=record.name, uid=record.uid,
                fingerprint=record.fingerprint,
            )  # fmt: skip
            index = cls(index_struct=struct, reader=reader, **kwargs)
        except BaseException:
            if owned:
                reader.close()
            raise
        index._owned = owned
        return index

    # What is there

    @property
    def collection(self) -> str:
        """Name of the collection."""
        return self._contents.collection

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there."""
        record = self._contents.record
        return record is None or record.documents == 0

    @property
    def llm(self) -> RCCLLM:
        """The LLM that answers if no other is given; it shares the index's reader."""
        if self._llm is None:
            self._llm = RCCLLM(reader=self.reader)
        return self._llm

    @property
    def ref_doc_info(self) -> dict[str, RefDocInfo]:
        """The documents that are there, with their nodes and metadata, in order of first insertion."""
        return self._contents.sources()

    def choose(self, filters: MetadataFilters | None, doc_ids: Sequence[str] | None) -> list[str] | None:
        """Return ids in the collection of what filters and documents leave; `None` where nothing is filtered."""
        return self._contents.choose(filters, doc_ids)

    def close(self) -> None:
        """Close the reader, if it was opened here."""
        if self._owned:
            self.reader.close()

    # Putting in

    def build_index_from_nodes(self, nodes: Sequence[BaseNode], **build_kwargs: Any) -> RCCMemoryStruct:
        """Compress nodes, and then tell the docstore of them."""
        return self._build_index_from_nodes(nodes, **build_kwargs)

    def _build_index_from_nodes(self, nodes: Sequence[BaseNode], **build_kwargs: Any) -> RCCMemoryStruct:
        _no_options(build_kwargs)
        self._index_struct = RCCMemoryStruct()
        self._insert(nodes)
        return self._index_struct

    @dispatcher.span
    def _insert(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        _no_options(insert_kwargs)
        taken = [as_node(node) for node in nodes]
        # Memory first: what could not be compressed is not in the docstore either.
        self._contents.put(taken, self._hashes, show_progress=self._show_progress)
        self.docstore.add_documents(taken, allow_update=True)
        for source in {node.ref_doc_id for node in taken if node.ref_doc_id in self._hashes}:
            self.docstore.set_document_hash(source, self._hashes[source])
        self._note()

    def insert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Compress nodes, or replace those of the same id.

        Args:
            nodes: The nodes.
            **insert_kwargs: None are known.
        """
        nodes = list(nodes)
        for node in nodes:
            if isinstance(node, IndexNode) and node.obj is not None:
                self._object_map[node.index_id], node.obj = node.obj, None
        with self._callback_manager.as_trace("insert_nodes"):
            self._insert(nodes, **insert_kwargs)
            self._storage_context.index_store.add_index_struct(self._index_struct)

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        """Put a document in, or replace the one of the same id; windows that are the same are not compressed again.

        Args:
            document: The document.
            **insert_kwargs: None are known.
        """
        _no_options(insert_kwargs)
        with self._callback_manager.as_trace("insert"):
            self._hashes[document.id_] = document.hash
            nodes = run_transformations([document], self._transformations, show_progress=self._show_progress)
            self._replace([document], nodes)

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Replace a document; readers see the old one until the new one is there."""
        self.insert(document, **update_kwargs.pop("insert_kwargs", {}))
        _no_options({name: value for name, value in update_kwargs.items() if name != "delete_kwargs" or value})

    def refresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Put in what is new or has changed, in text or metadata.

        Args:
            documents: The documents.
            **update_kwargs: None are known.

        Returns:
            Whether each was put in.
        """
        _no_options({name: value for name, value in update_kwargs.items() if value})
        with self._callback_manager.as_trace("refresh_ref_docs"):
            # What the store says, not the docstore: that one may know documents that are not in memory.
            there = {each.source: each.hash for each in self._contents.stored()}
            found = []
            for document in documents:
                changed = document.id_ not in there or there[document.id_] != document.hash
                if changed:
                    self.insert(document)
                    there[document.id_] = document.hash
                found.append(changed)
            return found

    def _replace(self, documents: Iterable[Document], nodes: Sequence[BaseNode]) -> None:
        """Put nodes in, and remove what else there is of their documents."""
        sources = {document.id_ for document in documents}
        taken = [as_node(node) for node in nodes]
        kept = {node.node_id for node in taken}
        old = [each for each in self._contents.stored() if each.source in sources and each.node not in kept]
        self.insert_nodes(taken)
        # A document that was whole and is in parts now, or the other way round, keeps no id of the other kind.
        self._take_out(old, delete_from_docstore=True)

    # Taking out

    def _delete_node(self, node_id: str, **delete_kwargs: Any) -> None:
        self.delete_nodes([node_id], **delete_kwargs)

    def delete_nodes(self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Remove nodes from memory, all at one instant; ids that are not there are logged.

        Args:
            node_ids: Which.
            delete_from_docstore: Remove them from LlamaIndex's docstore, too.
            **delete_kwargs: None are known.
        """
        _no_options(delete_kwargs)
        self._take_out(self._contents.named(list(node_ids)), delete_from_docstore)

    def delete_ref_doc(self, ref_doc_id: str, delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:
        """Remove a document with all its nodes from memory; one that is not there is logged.

        Args:
            ref_doc_id: Id of the document.
            delete_from_docstore: Remove it from LlamaIndex's docstore, too.
            **delete_kwargs: None are known.
        """
        _no_options(delete_kwargs)
        gone = [each for each in self._contents.stored() if each.source == ref_doc_id]
        if not gone:
            _log.warning("Document %r is not in collection %r: nothing deleted.", ref_doc_id, self.collection)
        self._take_out(gone, delete_from_docstore)
        if delete_from_docstore:
            self.docstore.delete_ref_doc(ref_doc_id, raise_error=False)

    def _take_out(self, gone: Sequence[Any], delete_from_docstore: bool) -> None:
        self._contents.remove(gone)
        for each in gone:
            if delete_from_docstore:
                self.docstore.delete_document(each.node, raise_error=False)
        self._note()
        self._storage_context.index_store.add_index_struct(self._index_struct)

    # Keeping LlamaIndex's storage in line

    def _note(self) -> None:
        struct, record = self._index_struct, self._contents.record
        struct.store, struct.store_id = str(self.reader.store.path), self.reader.store.id
        struct.collection = self.collection
        if record is not None:
            struct.uid, struct.fingerprint = record.uid, record.fingerprint
        struct.nodes = [each.node for each in self._contents.stored()]

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
                self._hashes[each.source] = each.hash
                self.docstore.set_document_hash(each.source, each.hash)
        self._note()
        self._storage_context.index_store.add_index_struct(self._index_struct)

    # Asking

    def as_retriever(self, **kwargs: Any) -> RCCMemoryRetriever:
        """Return a retriever of windows; see `RCCMemoryRetriever` for what it takes."""
        return RCCMemoryRetriever(self, object_map=self._object_map, callback_manager=self._callback_manager, **kwargs)

    def as_query_engine(self, llm: Any = None, **kwargs: Any) -> BaseQueryEngine:
        """Return a query engine.

        Args:
            llm: An `RCCLLM` on the same reader; the index's own if not given. Another LLM gets the most relevant
                windows as text, as with other indices.
            **kwargs: See `RCCQueryEngine`.
        """
        if llm is not None and not isinstance(llm, RCCLLM):
            return super().as_query_engine(llm=llm, **kwargs)
        return RCCQueryEngine(self, self._checked(llm), callback_manager=self._callback_manager, **kwargs)

    def as_chat_engine(self, chat_mode: ChatMode = ChatMode.BEST, llm: Any = None, **kwargs: Any) -> BaseChatEngine:
        """Return a chat engine.

        Args:
            chat_mode: `best`, `context` and `condense_plus_context` are one, answering from memory; the others are
                LlamaIndex's own.
            llm: An `RCCLLM` on the same reader; the index's own if not given. Another LLM gets the most relevant
                windows as text, as with other indices.
            **kwargs: See `RCCChatEngine`.
        """
        own = llm is None or isinstance(llm, RCCLLM)
        if not own or chat_mode not in (ChatMode.BEST, ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT):
            return super().as_chat_engine(chat_mode, llm=llm if llm is not None else self.llm, **kwargs)
        return RCCChatEngine(self, self._checked(llm), **kwargs)

    def _checked(self, llm: RCCLLM | None) -> RCCLLM:
        if llm is not None and llm.memory is not self.reader:
            raise ConfigError("The llm has another reader than the index: make it with RCCLLM(reader=index.reader).")
        return llm or self.llm


_MODEL_OPTIONS = ("model", "base", "device", "dtype", "attn", "merge")

INDEX_STRUCT_TYPE_TO_INDEX_CLASS[STRUCT_TYPE] = RCCMemoryIndex


def _no_options(options: dict[str, Any]) -> None:
    if options:
        raise TypeError(f"RCCMemoryIndex takes no {sorted(options)[0]!r} here.")
