"""`RCCMemoryIndex`: LlamaIndex's index over compressed memory."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.indices.registry import INDEX_STRUCT_TYPE_TO_INDEX_CLASS
from llama_index.core.schema import BaseNode, Document, IndexNode, TransformComponent
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.errors import ConfigError
from rcc_integrations.llamaindex.async_twins import AsyncTwins
from rcc_integrations.llamaindex.chat_engine import RCCChatEngine
from rcc_integrations.llamaindex.collection import Contents
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.opening import READER_OPTIONS, open_reader
from rcc_integrations.llamaindex.query_engine import RCCQueryEngine
from rcc_integrations.llamaindex.retriever import RCCMemoryRetriever
from rcc_integrations.llamaindex.struct import STRUCT_TYPE, RCCMemoryStruct
from rcc_integrations.llamaindex.whole import WholeDocuments
from rcc_integrations.reader.reader import RCCReader


class RCCMemoryIndex(AsyncTwins):
    """An index that compresses documents into memory once and answers from it, without an embedding model.

    Changes are durable when the call returns. The store is the only source of truth; LlamaIndex's docstore is
    synchronised with it when an index is loaded. `Settings.llm` and `Settings.embed_model` are not used.

    Example:
        ```python
        index = RCCMemoryIndex.from_documents(documents, store="memory/", collection="handbook")
        index.as_query_engine().query("Who approves leave?")
        ```

    Args:
        nodes: Nodes to build it from.
        objects: Nodes that represent other retrievers or engines.
        index_struct: What LlamaIndex's storage kept of an existing index.
        storage_context: LlamaIndex's storage.
        callback_manager: LlamaIndex's callback manager.
        transformations: Transformations from documents to nodes; whole documents if not given.
        show_progress: Show a progress bar.
        store: Folder of the store; `memory`, or that of the existing index, if not given.
        collection: Name of the collection; a new one if not given.
        reader: An open reader to share instead of opening `store`.
        llm: An `RCCLLM` whose reader to share and with which to answer.
        ratio: Compression ratio of a new collection; the model's default if not given.
        storage: Number format of the memories of a new collection: `int8`, `bfloat16` or `float32`.
        **reader_options: `model`, `base`, `device`, `dtype` and other options of `RCCReader.open`.

    Raises:
        ConfigError: Arguments contradict each other.
        StoreError: The store of the existing index does not exist, or is a different one.
        FingerprintMismatchError: Its collection has since been made by another model.
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
        **reader_options: Any,
    ) -> None:
        if llm is not None and not isinstance(llm, RCCLLM):
            raise ConfigError(f"llm must be an RCCLLM; it is {type(llm).__name__}. Others go into as_query_engine.")
        if index_struct is not None and collection is not None:
            index_struct.collection = collection
        self.reader, self._owned = open_reader(store, reader, llm, index_struct, reader_options)
        self._llm = llm or RCCLLM(reader=self.reader)
        name = index_struct.collection if index_struct else collection or f"index-{uuid.uuid4().hex[:12]}"
        self._contents = Contents(self.reader, name, ratio, storage)
        self._changing = threading.RLock()
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="rcc-index")
        try:
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
        except BaseException:
            self.close()
            raise

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
        """Build an index from documents, or add them to an existing collection; unchanged ones cost nothing.

        Args:
            documents: The documents; they are added as a whole and cut into the package's own windows.
            storage_context: LlamaIndex's storage.
            show_progress: Show a progress bar.
            callback_manager: LlamaIndex's callback manager.
            transformations: Transformations such as a node parser; whole documents if not given or empty.
            **kwargs: Further arguments of the class.

        Raises:
            EmptyDocumentError: A document has no text.
            ConfigError: Two documents have the same id, or metadata is not JSON.
            StoreError: The store cannot take them; documents before them stay added.
        """
        index = cls(
            [], None, None, storage_context, callback_manager, transformations, show_progress=show_progress, **kwargs
        )
        try:
            index._replace(documents)
        except BaseException:
            index.close()
            raise
        return index

    @classmethod
    def from_store(cls, store: str | Path | RCCReader, collection: str, **kwargs: Any) -> RCCMemoryIndex:
        """Open an existing collection, whether it was made by this class, by `RCCReader` or by the `rcc` command.

        Args:
            store: The store's folder, or an open reader.
            collection: Name of the collection.
            **kwargs: Further arguments of the class.

        Raises:
            StoreError: There is no store.
            UnknownCollectionError: There is no such collection.
        """
        options = {name: kwargs.pop(name) for name in READER_OPTIONS if name in kwargs}
        place, given = (None, store) if isinstance(store, RCCReader) else (store, None)
        reader, owned = open_reader(place, given, None, None, options, create=False)
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

    @property
    def llm(self) -> RCCLLM:
        """The default LLM of the index; it shares the index's reader."""
        return self._llm

    @property
    def is_empty(self) -> bool:
        """Whether the index is empty."""
        record = self._contents.record
        return record is None or record.documents == 0

    def choose(self, filters: MetadataFilters | None, doc_ids: Sequence[str] | None) -> list[str] | None:
        """Return ids in the collection of what filters and documents leave; `None` where nothing is filtered."""
        return self._contents.choose(filters, doc_ids)

    def close(self) -> None:
        """Finish pending changes, and close the reader if this index opened it."""
        self._worker.shutdown()
        if self._owned:
            self.reader.close()

    def as_retriever(self, **kwargs: Any) -> RCCMemoryRetriever:
        """Return a retriever of windows; see `RCCMemoryRetriever` for the arguments."""
        return RCCMemoryRetriever(self, object_map=self._object_map, callback_manager=self._callback_manager, **kwargs)

    def as_query_engine(self, llm: Any = None, **kwargs: Any) -> BaseQueryEngine:
        """Return a query engine.

        Args:
            llm: An `RCCLLM` on the same reader; the index's own if not given. Another LLM gets the best-matching
                windows as text, as with other indices.
            **kwargs: See `RCCQueryEngine`.
        """
        if llm is not None and not isinstance(llm, RCCLLM):
            return super().as_query_engine(llm=llm, **kwargs)
        return RCCQueryEngine(self, self._checked(llm), callback_manager=self._callback_manager, **kwargs)

    def as_chat_engine(self, chat_mode: ChatMode = ChatMode.BEST, llm: Any = None, **kwargs: Any) -> BaseChatEngine:
        """Return a chat engine.

        Args:
            chat_mode: `best`, `context` and `condense_plus_context` all answer from memory; the others are LlamaIndex's
                own.
            llm: An `RCCLLM` on the same reader; the index's own if not given. Another LLM gets the best-matching
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


INDEX_STRUCT_TYPE_TO_INDEX_CLASS[STRUCT_TYPE] = RCCMemoryIndex
