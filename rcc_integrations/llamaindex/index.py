"""`RCCMemoryIndex`: LlamaIndex's index over compressed memory."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.chat_engine.types import BaseChatEngine, ChatMode
from llama_index.core.indices.registry import INDEX_STRUCT_TYPE_TO_INDEX_CLASS
from llama_index.core.llms.utils import resolve_llm
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers.context_only import ContextOnly
from llama_index.core.response_synthesizers.no_text import NoText
from llama_index.core.schema import BaseNode, Document, IndexNode, TransformComponent
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.errors import ConfigError
from rcc_integrations.llamaindex.arguments import CHAT, RETRIEVAL, SYNTHESIS, chosen
from rcc_integrations.llamaindex.async_twins import AsyncTwins
from rcc_integrations.llamaindex.chat_engine import OWN_CHAT, RCCChatEngine
from rcc_integrations.llamaindex.collection import Contents
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.opening import DEFAULT_COLLECTION, INDEX_ARGUMENTS, READER_OPTIONS, open_reader
from rcc_integrations.llamaindex.query_engine import RCCQueryEngine
from rcc_integrations.llamaindex.retriever import RCCMemoryRetriever
from rcc_integrations.llamaindex.serial_worker import SerialWorker
from rcc_integrations.llamaindex.struct import STRUCT_TYPE, RCCMemoryStruct
from rcc_integrations.llamaindex.whole import WholeDocuments
from rcc_integrations.reader.reader import RCCReader

_log = logging.getLogger(__name__)

_WITHOUT_LLM: dict[str, Any] = {"no_text": NoText, "context_only": ContextOnly}


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
        collection: Name of the collection; `documents` if not given.
        reader: An open reader to share instead of opening `store`.
        llm: An `RCCLLM` whose reader to share and with which to answer.
        ratio: Compression ratio of a new collection; the model's default if not given.
        storage: Number format of the memories of a new collection: `int8`, `bfloat16` or `float32`.
        strict: Raise where a document has no text; it is left out with a warning otherwise.
        **options: `model`, `base`, `device`, `dtype` and other options of `RCCReader.open`, and settings of the
            `RCCLLM` that answers, such as `max_tokens`. `embed_model` and other arguments of `VectorStoreIndex` that
            have nothing to do here are accepted, and logged.

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
        strict: bool = False,
        **options: Any,
    ) -> None:
        if llm is not None and not isinstance(llm, RCCLLM):
            raise ConfigError(f"llm must be an RCCLLM; it is {type(llm).__name__}. Others go into as_query_engine.")
        if index_struct is not None and collection is not None:
            index_struct.collection = collection
        options = chosen("RCCMemoryIndex", options, [*READER_OPTIONS, *RCCLLM.call_options(), *INDEX_ARGUMENTS])
        settings = {name: options.pop(name) for name in RCCLLM.call_options() if name in options}
        if llm is not None and settings:
            raise ConfigError(f"Give {sorted(settings)[0]} to the llm: RCCLLM(reader=…, {sorted(settings)[0]}=…).")
        self.reader, self._lease = open_reader(store, reader, llm, index_struct, options)
        manager = {} if callback_manager is None else {"callback_manager": callback_manager}
        self._llm = llm or RCCLLM(reader=self.reader, **settings, **manager)
        # The root of a graph holds what stands for other indices, and must not be mixed with theirs.
        graph = any(isinstance(node, IndexNode) for node in nodes or ())
        name = collection or (f"graph-{uuid.uuid4().hex[:12]}" if graph else DEFAULT_COLLECTION)
        self._contents = Contents(self.reader, index_struct.collection if index_struct else name, ratio, storage)
        self._changing = threading.RLock()
        self._strict = strict
        self._worker = SerialWorker()
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

        Documents without text are left out with a warning. Those that a reader gave random ids are known again by their
        content and file, so that the same folder may be given again and again.

        Raises:
            EmptyDocumentError: If a document has no text, with `strict=True`.
            ConfigError: If two documents have one id, or metadata has no JSON form.
            StoreError: The store cannot take them; documents before them stay added.
        """
        index = cls(
            [], None, None, storage_context, callback_manager, transformations, show_progress=show_progress, **kwargs
        )
        try:
            index._note_others(documents, kwargs)
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
        reader, lease = open_reader(place, given, None, None, options, create=False)
        try:
            record = reader.store.collection(collection)
            struct = RCCMemoryStruct(
                store=str(reader.store.path), store_id=reader.store.id, collection=record.name, uid=record.uid,
                fingerprint=record.fingerprint,
            )  # fmt: skip
            index = cls(index_struct=struct, reader=reader, **kwargs)
        except BaseException:
            if lease is not None:
                lease.close()
            raise
        index._lease = lease
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

    def choose(
        self,
        filters: MetadataFilters | None,
        doc_ids: Sequence[str] | None = None,
        node_ids: Sequence[str] | None = None,
    ) -> list[str] | None:
        """Return ids in the collection of what filters, documents and nodes leave; `None` where nothing is filtered."""
        return self._contents.choose(filters, doc_ids, node_ids)

    def _note_others(self, documents: Sequence[Document], given: Mapping[str, Any]) -> None:
        if given.get("collection") is None:
            coming = {document.id_ for document in documents}
            others = sum(source not in coming for source in self._contents.held().sources())
            if others:
                _log.info("Collection %r holds %d other document(s), which are asked too. Give collection=… to keep "
                          "indices apart.", self.collection, others)  # fmt: skip

    def close(self) -> None:
        """Finish what is being changed, and let the reader go if it was opened here."""
        self._worker.close()
        if self._lease is not None:
            self._lease.close()

    def __enter__(self) -> RCCMemoryIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def as_retriever(self, **kwargs: Any) -> RCCMemoryRetriever:
        """Return a retriever of windows.

        Args:
            **kwargs: See `RCCMemoryRetriever`; arguments of engines are left to those.

        Raises:
            UnknownArgumentError: If there is no such argument.
        """
        given = chosen("RCCMemoryIndex.as_retriever", kwargs, [*RETRIEVAL, "routing", "object_map", "callback_manager"],
                       {*SYNTHESIS, *CHAT, *RCCLLM.call_options()})  # fmt: skip
        given = {"object_map": self._object_map, "callback_manager": self._callback_manager, **given}
        return RCCMemoryRetriever(self, **given)

    def as_query_engine(self, llm: Any = None, **kwargs: Any) -> BaseQueryEngine:
        """Return a query engine.

        Args:
            llm: An `RCCLLM` on the same reader; the index's own if not given. Another LLM gets the most relevant
                windows as text, as with other indices, and so does a `response_synthesizer`.
            **kwargs: See `RCCQueryEngine`; for another LLM what `RetrieverQueryEngine` takes.

        Raises:
            UnknownArgumentError: If there is no such argument.
        """
        mode = str(getattr(kwargs.get("response_mode"), "value", kwargs.get("response_mode")))
        other = llm is not None and not isinstance(llm, RCCLLM)
        if other or kwargs.get("response_synthesizer") is not None or mode in ("no_text", "context_only", "generation"):
            given = chosen("RCCMemoryIndex.as_query_engine", kwargs, SYNTHESIS, {*RETRIEVAL, *CHAT})
            given = {"callback_manager": self._callback_manager, **given}
            asked = resolve_llm(llm, callback_manager=self._callback_manager) if other else self._checked(llm)
            if mode in _WITHOUT_LLM:
                # LlamaIndex would ask its global settings for a model that it does not use.
                given["response_synthesizer"] = _WITHOUT_LLM[mode](llm=asked, streaming=given.get("streaming", False))
            return RetrieverQueryEngine.from_args(self.as_retriever(**kwargs), llm=asked, **given)
        given = chosen("RCCMemoryIndex.as_query_engine", kwargs,
                       [*RETRIEVAL, *SYNTHESIS, *RCCLLM.call_options()], CHAT)  # fmt: skip
        given = {"callback_manager": self._callback_manager, "object_map": self._object_map, **given}
        return RCCQueryEngine(self, self._checked(llm), **given)

    def as_chat_engine(self, chat_mode: ChatMode = ChatMode.BEST, llm: Any = None, **kwargs: Any) -> BaseChatEngine:
        """Return a chat engine.

        Args:
            chat_mode: `best`, `context` and `condense_plus_context` all answer from memory; the others are LlamaIndex's
                own.
            llm: An `RCCLLM` on the same reader; the index's own if not given. Another LLM gets the best-matching
                windows as text, as with other indices.
            **kwargs: See `RCCChatEngine`; for another LLM or mode what LlamaIndex's chat engine takes.

        Raises:
            UnknownArgumentError: If there is no such argument.
        """
        own = llm is None or isinstance(llm, RCCLLM)
        if not own or chat_mode not in (ChatMode.BEST, ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT):
            return super().as_chat_engine(chat_mode, llm=llm if llm is not None else self.llm, **kwargs)
        given = chosen("RCCMemoryIndex.as_chat_engine", kwargs,
                       [*OWN_CHAT, *RETRIEVAL, *RCCLLM.call_options()], {*SYNTHESIS, *CHAT})  # fmt: skip
        return RCCChatEngine(self, self._checked(llm), **{"callback_manager": self._callback_manager, **given})

    def _checked(self, llm: RCCLLM | None) -> RCCLLM:
        if llm is not None and llm.memory is not self.reader:
            raise ConfigError("The llm has another reader than the index: make it with RCCLLM(reader=index.reader).")
        return llm or self.llm


INDEX_STRUCT_TYPE_TO_INDEX_CLASS[STRUCT_TYPE] = RCCMemoryIndex
