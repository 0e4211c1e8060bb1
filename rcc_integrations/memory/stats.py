"""Counts and sizes of a store."""

from __future__ import annotations

from dataclasses import dataclass

from rcc_integrations.memory import ledger, lost_found, routing_check
from rcc_integrations.memory.contents import Contents
from rcc_integrations.memory.index import Index
from rcc_integrations.memory.records import CollectionRecord


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts and sizes of a store.

    Args:
        collections: Number of collections.
        documents: Documents of all collections.
        windows: Windows of all documents.
        tokens: Tokens of all documents.
        slots: Slots of all documents.
        blobs: Memories on disk; equal windows are stored once, and some may be unused.
        texts: Texts on disk; equal documents share one.
        blob_bytes: Bytes of memories.
        text_bytes: Bytes of texts.
        index_bytes: Bytes of the index.
        size_limit: Most bytes of memories and texts together; None for no limit.
        lost_files: Files in `lost+found`, where repairs put what they take out.
        lost_bytes: Bytes of these files.
        routing_bytes: Bytes of the indices by which windows are found.
    """

    collections: int
    documents: int
    windows: int
    tokens: int
    slots: int
    blobs: int
    texts: int
    blob_bytes: int
    text_bytes: int
    index_bytes: int
    size_limit: int | None
    lost_files: int
    lost_bytes: int
    routing_bytes: int


def collect(index: Index, contents: Contents) -> StoreStats:
    """Return consistent counts and sizes of a store."""
    with index.read() as rows:
        records = [CollectionRecord.from_json(value) for _, value in rows.scan(ledger.COLLECTION)]
        use = ledger.usage(rows)
        blobs, texts = rows.count(ledger.BLOB), rows.count(ledger.TEXT)
    lost_files, lost_bytes = lost_found.size_of(index.folder.parent)
    return StoreStats(
        collections=len(records),
        documents=sum(record.documents for record in records),
        windows=sum(record.windows for record in records),
        tokens=sum(record.tokens for record in records),
        slots=sum(record.slots for record in records),
        blobs=blobs,
        texts=texts,
        blob_bytes=use.blobs,
        text_bytes=use.texts,
        index_bytes=index.size(),
        size_limit=contents.room.limit,
        lost_files=lost_files,
        lost_bytes=lost_bytes,
        routing_bytes=routing_check.size_of(index.folder.parent),
    )
