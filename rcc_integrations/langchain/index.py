"""`RCCDocumentIndex`: a collection as LangChain's document index and retriever."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.indexing import DeleteResponse, UpsertResponse
from langchain_core.indexing.base import DocumentIndex
from pydantic import ConfigDict, PrivateAttr, model_validator

from rcc_integrations.document import Document as RCCDocument
from rcc_integrations.errors import UnknownCollectionError
from rcc_integrations.memory.records import DocumentRecord
from rcc_integrations.reader.answer import Source
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.routing.route import Routing


class RCCDocumentIndex(DocumentIndex):
    """A collection as a LangChain document index and retriever.

    Whole documents are compressed once; a search returns their best-matching windows. Works with
    `langchain_core.indexing.index` and a record manager. A document that cannot be added raises an exception, because
    `index` would otherwise record it as done.

    Example:
        ```python
        index = RCCDocumentIndex(store="memory/", collection="handbook")
        index.upsert([Document(id="leave.md", page_content=text)])
        index.invoke("Who approves leave?")
        ```

    Args:
        collection: Name of the collection; created with the first document.
        store: Folder of the store.
        reader: An open reader to share instead.
        k: Maximum number of windows that a search returns.
        routing: Rank windows by `both` memory and words, by `memory`, or by `words` alone.
        model: Folder or hub id of an RCC model; the default model if not given.
        ratio: Compression ratio of a new collection; the model's default if not given.
    """

    collection: str
    store: Path | None = None
    reader: Any = None
    k: int = 4
    routing: Routing = "both"
    model: str | None = None
    ratio: int | None = None

    _opened: RCCReader | None = PrivateAttr(default=None)

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

    @property
    def memory(self) -> RCCReader:
        """The underlying `RCCReader`, opened lazily."""
        if self.reader is not None:
            found: RCCReader = self.reader
            return found
        if self._opened is None:
            assert self.store is not None
            self._opened = RCCReader.open(self.store, model=self.model)
        return self._opened

    def upsert(self, items: Sequence[Document], /, **kwargs: Any) -> UpsertResponse:
        """Add documents, or replace those with the same id; unchanged ones cost nothing.

        Args:
            items: The documents; those without an id get one.
            **kwargs: None are accepted.

        Raises:
            ConfigError: Metadata is not JSON, or two documents have the same id.
            EmptyDocumentError: A document has no text.
            StoreError: The store cannot take them; documents before them stay added.
        """
        _no_options("upsert", kwargs)
        ids = [item.id or uuid.uuid4().hex for item in items]
        if items:
            documents = [_document(id, item) for id, item in zip(ids, items, strict=True)]
            self.memory.add(self.collection, documents, ratio=self.ratio)
        return UpsertResponse(succeeded=ids, failed=[])

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> DeleteResponse:
        """Remove documents in one transaction; unknown ids are ignored.

        Args:
            ids: Ids of the documents; to remove all, drop the collection.
            **kwargs: None are accepted.

        Raises:
            ValueError: No ids are given.
        """
        _no_options("delete", kwargs)
        if ids is None:
            raise ValueError("Say which documents to delete: ids=[…].")
        there = set(self._records())
        known = [id for id in dict.fromkeys(ids) if id in there]
        if known:
            self.memory.delete(self.collection, known)
        return DeleteResponse(num_deleted=len(known), succeeded=known, num_failed=0, failed=[])

    def get(self, ids: Sequence[str], /, **kwargs: Any) -> list[Document]:
        """Return documents as they were added; unknown ids are ignored.

        Args:
            ids: Ids of the documents.
            **kwargs: None are accepted.
        """
        _no_options("get", kwargs)
        there = self._records()
        found = []
        for id in ids:
            if id in there:
                text = self.memory.store.text(there[id].text_key)
                found.append(Document(id=id, page_content=text, metadata=dict(there[id].metadata)))
        return found

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        try:
            found = self.memory.search(self.collection, query, k or self.k, routing=self.routing)
        except UnknownCollectionError:
            return []
        return [window_document(source) for source in found]

    def _records(self) -> dict[str, DocumentRecord]:
        try:
            return {record.id: record for record in self.memory.documents(self.collection)}
        except UnknownCollectionError:
            return {}


def window_document(source: Source) -> Document:
    """Return a window as a document: its text, the document's metadata, and where it stands."""
    place = {"document": source.document, "start": source.start, "end": source.end, "score": source.score}
    return Document(
        id=f"{source.document}:{source.start}-{source.end}",
        page_content=source.text,
        metadata={**source.metadata, **place},
    )


def _document(id: str, item: Document) -> RCCDocument:
    # Changed metadata alone make a document another one, too.
    made = RCCDocument(id, item.page_content, metadata=dict(item.metadata))
    digest = hashlib.blake2b(f"{json.dumps(made.metadata, sort_keys=True)}\n{made.text}".encode(), digest_size=32)
    return RCCDocument(id, item.page_content, digest.hexdigest(), dict(item.metadata))


def _no_options(method: str, kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise TypeError(f"RCCDocumentIndex.{method} takes no {sorted(kwargs)[0]!r}.")
