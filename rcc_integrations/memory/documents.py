"""Putting and removing documents: what changes in the rows, and which files nothing needs afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rcc_integrations.errors import ConfigError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.changes import checked_windows, counted, same_content
from rcc_integrations.memory.contents import Contents
from rcc_integrations.memory.index import Index, WriteTransaction
from rcc_integrations.memory.json_value import JSON, check_object, check_text
from rcc_integrations.memory.lookup import find_collection, find_document, named
from rcc_integrations.memory.names import check_document_id
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord, WindowRecord
from rcc_integrations.memory.texts import encode_text


@dataclass(frozen=True)
class NewDocument:
    """What a caller wants to put, checked.

    Args:
        id: The document's id.
        data: Its text as UTF-8.
        characters: Characters of the text.
        windows: Its windows.
        tokens: Tokens of the text.
        digest: Whatever the caller recognises an unchanged source by.
        metadata: JSON values.
    """

    id: str
    data: bytes
    characters: int
    windows: tuple[WindowRecord, ...]
    tokens: int
    digest: str
    metadata: dict[str, JSON]

    @classmethod
    def checked(
        cls,
        id: str,
        text: str,
        windows: Sequence[WindowRecord],
        tokens: int,
        digest: str,
        metadata: Mapping[str, Any] | None,
    ) -> NewDocument:
        """Return it, if it can be one; see `MemoryStore.put_document` for the errors."""
        id = check_document_id(id)
        data = encode_text(text)
        checked = checked_windows(windows, id, len(text))
        if type(tokens) is not int or tokens < 0:
            raise ConfigError(f"The tokens of document {id!r} must be a whole number, not {tokens!r}.")
        check_text(digest, "The digest")
        described = check_object(metadata or {}, "The metadata")
        return cls(id, data, len(text), checked, tokens, digest, described)

    def record(self, order: int, text_key: str) -> DocumentRecord:
        """Return the record of it."""
        return DocumentRecord(
            id=self.id,
            order=order,
            text_key=text_key,
            characters=self.characters,
            tokens=self.tokens,
            slots=sum(window.slots for window in self.windows),
            windows=self.windows,
            digest=self.digest,
            metadata=self.metadata,
            added=time.time(),
        )


def put(index: Index, contents: Contents, name: str | CollectionRecord, new: NewDocument) -> DocumentRecord:
    """Add or replace a document at one instant; see `MemoryStore.put_document`."""
    name = named(name)
    keys = {window.key for window in new.windows}
    contents.check_writable()
    with contents.texts.ready(new.data) as temp, index.write() as rows:
        collection = find_collection(rows, name)
        contents.blobs.require(rows, keys, collection)
        text_key = contents.texts.ensure(rows, new.data, temp)
        old = ledger.document_row(rows, collection.uid, new.id)
        record = new.record(collection.revision + 1 if old is None else old.order, text_key)
        had = set() if old is None else old.keys
        if old is not None:
            contents.recount_lost(rows, keys & had, text_key if text_key == old.text_key else None)
            if same_content(old, record):
                return old
        ledger.retain_blobs(rows, keys - had)
        blobs = ledger.release_blobs(rows, had - keys)
        texts: set[str] = set()
        if old is None or old.text_key != text_key:
            ledger.retain_text(rows, text_key)
            texts = set() if old is None else ledger.release_texts(rows, [old.text_key])
        ledger.set_document(rows, collection.uid, record)
        ledger.set_collection(rows, counted(collection, [record], [] if old is None else [old]))
    contents.sweep(blobs, texts)
    return record


def delete(index: Index, contents: Contents, name: str | CollectionRecord, ids: Iterable[str]) -> list[DocumentRecord]:
    """Remove documents at one instant; see `MemoryStore.delete_documents`."""
    name = named(name)
    wanted = list(dict.fromkeys(check_document_id(id) for id in ids))
    with index.write() as rows:
        collection = find_collection(rows, name)
        records = [find_document(rows, collection, id) for id in wanted]
        if not records:
            return []
        blobs, texts = remove_rows(rows, collection, records)
        ledger.set_collection(rows, counted(collection, [], records))
    contents.sweep(blobs, texts)
    return records


def update(
    index: Index,
    name: str | CollectionRecord,
    id: str,
    digest: str | None,
    metadata: Mapping[str, Any] | None,
) -> DocumentRecord:
    """Change a document's digest or metadata; see `MemoryStore.update_document`."""
    name, id = named(name), check_document_id(id)
    described = None if metadata is None else check_object(metadata, "The metadata")
    if digest is not None:
        check_text(digest, "The digest")
    with index.write() as rows:
        collection = find_collection(rows, name)
        old = find_document(rows, collection, id)
        record = replace(
            old,
            digest=old.digest if digest is None else digest,
            metadata=old.metadata if described is None else described,
        )
        if same_content(old, record):
            return old
        ledger.set_document(rows, collection.uid, record)
        ledger.set_collection(rows, replace(collection, revision=collection.revision + 1))
    return record


def remove_rows(
    rows: WriteTransaction, collection: CollectionRecord, records: Sequence[DocumentRecord]
) -> tuple[set[str], set[str]]:
    """Remove the rows of documents; return the keys of blobs and texts that nothing needs any more."""
    blobs = ledger.release_blobs(rows, [key for record in records for key in record.keys])
    texts = ledger.release_texts(rows, [record.text_key for record in records])
    for record in records:
        rows.delete(f"{ledger.DOCUMENT}{collection.uid}:{record.id}")
    return blobs, texts
