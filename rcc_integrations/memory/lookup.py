"""From names to records, within one transaction."""

from __future__ import annotations

from rcc_integrations.errors import (
    CorruptBlobError,
    FingerprintMismatchError,
    UnknownCollectionError,
    UnknownDocumentError,
)
from rcc_integrations.memory import ledger
from rcc_integrations.memory.index import Rows
from rcc_integrations.memory.json_value import JSON
from rcc_integrations.memory.names import check_collection_name
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord, Snapshot

#: So many names are compared with one that is not known.
_COMPARED = 2000


def named(collection: str | CollectionRecord) -> str | CollectionRecord:
    """Return what a caller names a collection by: its name, checked, or its record."""
    return collection if isinstance(collection, CollectionRecord) else check_collection_name(collection)


def find_collection(rows: Rows, collection: str | CollectionRecord) -> CollectionRecord:
    """Return a collection as it is now.

    Args:
        rows: A transaction.
        collection: Its name, or a record of it. A record stands for the collection itself, whatever it is called
            now, and never for another one that got its name.

    Raises:
        UnknownCollectionError: There is none of this name, or it was dropped.
        FingerprintMismatchError: Its memories are of another model than the record tells.
    """
    if isinstance(collection, str):
        uid = rows.get(ledger.NAME + collection)
        if uid is None or is_over(record := collection_of(rows, uid)):
            raise UnknownCollectionError(collection, _names(rows))
        if record.name != collection:
            raise CorruptBlobError(
                f"The index holds collection {record.name!r} under the name {collection!r}. Run `rcc verify --repair`."
            )
        return record
    if rows.get(ledger.COLLECTION + collection.uid) is None:
        raise UnknownCollectionError(f"{collection.name} (dropped meanwhile)", _names(rows))
    record = collection_of(rows, collection.uid)
    if is_over(record):
        raise UnknownCollectionError(f"{collection.name} (expired meanwhile)", _names(rows))
    if (record.fingerprint, record.storage) != (collection.fingerprint, collection.storage):
        raise FingerprintMismatchError(
            f"Collection {record.name!r} holds memories of fingerprint {record.fingerprint} as {record.storage}, not "
            f"of {collection.fingerprint} as {collection.storage}. Nothing was changed: run `rcc verify`."
        )
    return record


def collection_of(rows: Rows, uid: JSON) -> CollectionRecord:
    """Return the collection of a uid.

    Raises:
        CorruptBlobError: It has no sound record.
    """
    value = rows.get(f"{ledger.COLLECTION}{uid}")
    if value is None:
        raise CorruptBlobError(f"The record of collection {uid!r} is lost. Run `rcc verify --repair`.")
    record = CollectionRecord.from_json(value)
    if record.uid != uid:
        raise CorruptBlobError(f"The index holds collection {record.uid!r} in the place of {uid!r}.")
    return record


def all_collections(rows: Rows) -> list[CollectionRecord]:
    """Return all collections by name, expired ones too."""
    return [collection_of(rows, uid) for _, uid in rows.scan(ledger.NAME)]


def is_over(record: CollectionRecord) -> bool:
    """Tell whether a collection has expired: it is gone for every reader, though still on disk."""
    return record.expiry is not None and record.expiry.is_over


def find_document(rows: Rows, collection: CollectionRecord, id: str) -> DocumentRecord:
    """Return a document of a collection.

    Raises:
        UnknownDocumentError: There is none of this id.
    """
    record = ledger.document_row(rows, collection.uid, id)
    if record is None:
        prefix = f"{ledger.DOCUMENT}{collection.uid}:"
        known = [key.removeprefix(prefix) for key, _ in rows.scan(prefix)]
        raise UnknownDocumentError(id, collection.name, known[:_COMPARED])
    return record


def take_snapshot(rows: Rows, collection: CollectionRecord) -> Snapshot:
    """Return a collection with its documents.

    Raises:
        CorruptBlobError: It does not have as many as it counts, or a record is damaged.
    """
    documents = tuple(ledger.document_rows(rows, collection.uid))
    counted = (collection.documents, collection.windows, collection.tokens, collection.slots)
    there = totals(documents)
    if counted != there:
        raise CorruptBlobError(
            f"Collection {collection.name!r} counts {counted} documents, windows, tokens and slots, and has {there}. "
            "Run `rcc verify --repair`."
        )
    return Snapshot(collection, documents)


def totals(documents: tuple[DocumentRecord, ...] | list[DocumentRecord]) -> tuple[int, int, int, int]:
    """Return how many documents, windows, tokens and slots these are."""
    return (
        len(documents),
        sum(len(record.windows) for record in documents),
        sum(record.tokens for record in documents),
        sum(record.slots for record in documents),
    )


def _names(rows: Rows) -> list[str]:
    return [record.name for record in all_collections(rows) if not is_over(record)]
