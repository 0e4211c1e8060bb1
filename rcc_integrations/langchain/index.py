"""`RCCDocumentIndex`: a collection as LangChain's document index and retriever."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.indexing import DeleteResponse, UpsertResponse
from langchain_core.indexing.base import DocumentIndex
from pydantic import ConfigDict, PrivateAttr, model_validator

from rcc_integrations.chat.memory_holder import MemoryHolder
from rcc_integrations.document import Document as RCCDocument
from rcc_integrations.document import plain_metadata
from rcc_integrations.errors import ConfigError, EmptyDocumentError, UnknownArgumentError, UnknownCollectionError
from rcc_integrations.langchain.filters import passes
from rcc_integrations.memory.records import DocumentRecord
from rcc_integrations.reader.answer import Source
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.routing.route import Routing

_log = logging.getLogger(__name__)


class RCCDocumentIndex(DocumentIndex):
    """Documents of a collection: put in, taken out, found again.

    Whole documents go in and are compressed once; what comes out of a search is their most relevant windows. Works
    with `langchain_core.indexing.index` and a record manager. A document that cannot be added raises, because `index`
    would take it for done otherwise; one without text is left out with a warning.

    Example:
        ```python
        index = RCCDocumentIndex(store="memory/", collection="handbook")
        index.add_documents([Document(id="leave.md", page_content=text, metadata={"year": 2026})])
        index.invoke("Who approves leave?")
        index.similarity_search("Who approves leave?", k=2, filter={"year": {"$gte": 2025}})
        ```

    Args:
        collection: Name of the collection; made when the first document comes.
        store: Folder of the store; made likewise. Indices and chat models of one store share one reader.
        reader: An open reader to share instead.
        k: How many windows a search returns.
        filter: Search only documents whose metadata pass; see `filters.passes`.
        routing: Rank windows by `both` memory and words, by `memory`, or by `words` alone.
        model: Folder or hub id of an RCC model; the default model of the package if not given.
        ratio: Compression ratio of a new collection; the model's own if not given.
        strict: Raise where a document has no text.
    """

    collection: str
    store: Path | None = None
    reader: Any = None
    k: int = 4
    filter: Any = None
    routing: Routing = "both"
    model: str | None = None
    ratio: int | None = None
    strict: bool = False

    _memory: MemoryHolder = PrivateAttr(default_factory=MemoryHolder)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="after")
    def _check_rcc_place(self) -> RCCDocumentIndex:
        if (self.store is None) == (self.reader is None):
            raise ValueError("Give either store, a folder, or reader, an open RCCReader.")
        if self.reader is not None and not isinstance(self.reader, RCCReader):
            raise ValueError(f"reader must be an RCCReader; it is {type(self.reader).__name__}.")
        if self.k < 1:
            raise ValueError(f"k must be at least 1; it is {self.k}.")
        return self

    @classmethod
    def from_documents(
        cls, documents: Iterable[Document], embedding: Any = None, *, ids: Sequence[str] | None = None, **kwargs: Any
    ) -> Self:
        """Make an index and put documents in.

        Args:
            documents: The documents.
            embedding: Accepted where a vector store took one; memory needs none.
            ids: Their ids; their own, or random ones, if not given.
            **kwargs: Arguments of the class.
        """
        index = cls(**kwargs)
        index.add_documents(documents, ids=ids)
        return index

    @property
    def memory(self) -> RCCReader:
        """The underlying `RCCReader`, opened lazily and shared; the store is made if there is none."""
        return self._reader(create=True)

    def _reader(self, *, create: bool) -> RCCReader:
        if self.reader is not None:
            found: RCCReader = self.reader
            return found
        return self._memory.reader(self.store, model=self.model, create=create, what="store")

    def close(self) -> None:
        """Let the reader go, unless it was given; used again, the index opens it again."""
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._memory = MemoryHolder()
        return copied

    # Documents

    def upsert(self, items: Sequence[Document], /, **kwargs: Any) -> UpsertResponse:
        """Add documents, or replace those of the same id; equal ones cost nothing.

        Args:
            items: Documents; those without an id get one.
            **kwargs: None are known.

        Returns:
            The ids of those that are there now; those without text under `failed`.

        Raises:
            ConfigError: If metadata have no JSON form, or two documents have one id.
            EmptyDocumentError: If a document has no text, and the index is strict.
            StoreError: If the store cannot take them; those before stay.
        """
        _no_options("upsert", kwargs)
        pairs = [(item.id or uuid.uuid4().hex, item) for item in items]
        empty = [id for id, item in pairs if not item.page_content.strip()]
        for id, item in pairs:
            if id in empty:
                self._refuse(id, item)
        if documents := [_document(id, item) for id, item in pairs if id not in empty]:
            self.memory.add(self.collection, documents, ratio=self.ratio)
        if empty:
            self.delete(empty)  # what was there of them is not what they are any more
        return UpsertResponse(succeeded=[id for id, _ in pairs if id not in empty], failed=empty)

    def add_documents(
        self, documents: Iterable[Document], ids: Sequence[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add documents as `upsert` does, and return their ids.

        Args:
            documents: The documents.
            ids: Their ids; their own, or random ones, if not given.
            **kwargs: None are known.

        Raises:
            ConfigError: If there are not as many ids as documents; or as in `upsert`.
        """
        _no_options("add_documents", kwargs)
        items = list(documents)
        if ids is not None:
            if len(ids) != len(items):
                raise ConfigError(f"There are {len(items)} documents and {len(ids)} ids: give one for each.")
            items = [item.model_copy(update={"id": id}) for id, item in zip(ids, items, strict=True)]
        return list(self.upsert(items)["succeeded"])

    async def aadd_documents(
        self, documents: Iterable[Document], ids: Sequence[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Do as `add_documents` without blocking the event loop."""
        return await asyncio.to_thread(self.add_documents, documents, ids, **kwargs)

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> DeleteResponse:
        """Remove documents, all at one instant; ids that are not there are no error.

        Args:
            ids: Which; to remove all, drop the collection.
            **kwargs: None are known.

        Raises:
            ValueError: If no ids are given.
        """
        _no_options("delete", kwargs)
        if ids is None:
            raise ValueError("Say which documents to delete: ids=[…].")
        known = list(self._records(ids))
        if known:
            self.memory.delete(self.collection, known)
        return DeleteResponse(num_deleted=len(known), succeeded=known, num_failed=0, failed=[])

    def get(self, ids: Sequence[str], /, **kwargs: Any) -> list[Document]:
        """Return documents as they were put in, those that are there.

        Args:
            ids: Which.
            **kwargs: None are known.
        """
        _no_options("get", kwargs)
        there = self._records(ids)
        found = []
        for id in ids:
            if id in there:
                text = self.memory.store.text(there[id].text_key)
                found.append(Document(id=id, page_content=text, metadata=dict(there[id].metadata)))
        return found

    # Searching

    def similarity_search(self, query: str, k: int | None = None, filter: Any = None, **kwargs: Any) -> list[Document]:
        """Return the windows that fit a query best.

        Args:
            query: What to look for.
            k: How many; the index's own number if not given.
            filter: Only from documents whose metadata pass, beside the index's own filter.
            **kwargs: None are known.

        Raises:
            StoreError: If there is no store.
            UnknownCollectionError: If there is no such collection.
        """
        _no_options("similarity_search", kwargs)
        return [window_document(source) for source in self._sources(query, k, filter)]

    async def asimilarity_search(
        self, query: str, k: int | None = None, filter: Any = None, **kwargs: Any
    ) -> list[Document]:
        """Do as `similarity_search` without blocking the event loop."""
        return await asyncio.to_thread(self.similarity_search, query, k, filter, **kwargs)

    def similarity_search_with_score(
        self, query: str, k: int | None = None, filter: Any = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return windows with scores from 0 to 1, higher for better ones; see `similarity_search`."""
        _no_options("similarity_search_with_score", kwargs)
        return [(window_document(source), source.relevance) for source in self._sources(query, k, filter)]

    def as_retriever(
        self, search_type: str = "similarity", search_kwargs: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> Self:
        """Return the index with other settings of a search; it is a retriever itself.

        Args:
            search_type: `similarity`; there are no vectors for others.
            search_kwargs: `k` and `filter`.
            **kwargs: Of LangChain's retrievers: `tags`, `metadata`.

        Raises:
            ConfigError: If it is another type of search.
        """
        if search_type != "similarity":
            raise ConfigError(f"search_type {search_type!r} needs vectors, and memory has none: use 'similarity'.")
        changes = dict(search_kwargs or {})
        if unknown := sorted(set(changes) - {"k", "filter"}):
            raise UnknownArgumentError("RCCDocumentIndex.as_retriever: search_kwargs", unknown[0], ["k", "filter"])
        return self.model_copy(update={**changes, **kwargs})

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None, filter: Any = None
    ) -> list[Document]:
        return [window_document(source) for source in self._sources(query, k, filter)]

    def _sources(self, query: str, k: int | None, filter: Any) -> list[Source]:
        reader = self._reader(create=False)
        try:
            if self.filter is None and filter is None:
                return reader.search(self.collection, query, k or self.k, routing=self.routing)
            there = reader.documents(self.collection)
            chosen = [each.id for each in there if passes(self.filter, each.metadata) and passes(filter, each.metadata)]
            if not chosen:
                return []
            return reader.search(self.collection, query, k or self.k, documents=chosen, routing=self.routing)
        except UnknownCollectionError as error:
            if not reader.collections():
                return []  # nothing was added to the store yet
            error.args = (f"{error} The store is {str(reader.store.path)!r}.",)
            raise

    def _records(self, ids: Iterable[str]) -> dict[str, DocumentRecord]:
        try:
            return self.memory.store.find_documents(self.collection, ids)
        except UnknownCollectionError:
            return {}

    def _refuse(self, id: str, item: Document) -> None:
        whence = {name: item.metadata[name] for name in ("source", "page") if name in item.metadata}
        where = ", ".join(f"{name} {value!r}" for name, value in whence.items())
        said = f"Document {id!r}{f' ({where})' if where else ''} has no text"
        if self.strict:
            raise EmptyDocumentError(f"{said}: leave it out, or make the index with strict=False.")
        _log.warning("%s; it is not in collection %r.", said, self.collection)


def window_document(source: Source) -> Document:
    """Return a window as a document: its text, the document's metadata, and where it stands.

    Its place is in `document`, `start`, `end` and `score`, where the document has no metadata of these names, and in
    any case under `rcc_window`.
    """
    place = {"document": source.document, "start": source.start, "end": source.end, "score": source.score}
    return Document(
        id=f"{source.document}:{source.start}-{source.end}",
        page_content=source.text,
        metadata={**place, **source.metadata, "rcc_window": place},
    )


def _document(id: str, item: Document) -> RCCDocument:
    # Changed metadata alone make a document another one, too.
    metadata = plain_metadata(item.metadata)
    made = RCCDocument(id, item.page_content, metadata=metadata)
    digest = hashlib.blake2b(f"{json.dumps(made.metadata, sort_keys=True)}\n{made.text}".encode(), digest_size=32)
    return RCCDocument(id, item.page_content, digest.hexdigest(), metadata)


def _no_options(method: str, kwargs: Mapping[str, Any]) -> None:
    if kwargs:
        raise UnknownArgumentError(f"RCCDocumentIndex.{method}", sorted(kwargs)[0], ())
