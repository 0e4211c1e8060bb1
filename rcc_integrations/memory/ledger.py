"""Rows of the index: their keys, and the counts that tell which blobs and texts are still needed.

| key | value |
| --- | --- |
| `name:NAME` | uid of the collection of that name |
| `collection:UID` | `CollectionRecord` |
| `document:UID:ID` | `DocumentRecord` |
| `blob:KEY` | `BlobRow` |
| `text:KEY` | `TextRow` |
| `usage` | bytes of all blobs and of all texts |
| `changes` | number of transactions that changed something |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Final

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory.index import Rows, WriteTransaction
from rcc_integrations.memory.json_value import JSON
from rcc_integrations.memory.records import MAX_COUNT, STORAGES, CollectionRecord, DocumentRecord, is_number

NAME: Final = "name:"
COLLECTION: Final = "collection:"
DOCUMENT: Final = "document:"
BLOB: Final = "blob:"
TEXT: Final = "text:"
USAGE: Final = "usage"


@dataclass(frozen=True, slots=True)
class BlobRow:
    """What the index knows of a blob.

    Args:
        bytes: Size of its file; 0 after it was found broken and discarded.
        checksum: XXH3-128 of its file.
        storage: `int8`, `bfloat16` or `float32`.
        count: Documents that need it.
        put: When it was stored, seconds since 1970.
        fingerprint: Fingerprint of the model that made it; empty where a store of format 2 or below did not say.
    """

    bytes: int
    checksum: str
    storage: str
    count: int
    put: float
    fingerprint: str = ""

    @classmethod
    def from_json(cls, value: JSON) -> BlobRow:
        """Read a row; CorruptBlobError if it is not one."""
        if type(value) is dict and len(value) == (6 if "fingerprint" in value else 5):
            size, checksum, storage = value.get("bytes"), value.get("checksum"), value.get("storage")
            count, put, made_by = value.get("count"), value.get("put"), value.get("fingerprint", "")
            if (
                type(size) is int
                and type(count) is int
                and type(checksum) is str
                and type(storage) is str
                and type(made_by) is str
                and made_by.isascii()
                and is_number(put)
                and 0 <= size <= MAX_COUNT
                and 0 <= count <= MAX_COUNT
                and storage in STORAGES
            ):
                return cls(size, checksum, storage, count, float(put), made_by)  # type: ignore[arg-type]
        raise CorruptBlobError(f"A blob's row in the index is damaged: {str(value)[:100]}. Run `rcc verify --repair`.")


@dataclass(frozen=True, slots=True)
class TextRow:
    """What the index knows of a text.

    Args:
        bytes: Size of its file.
        count: Documents that have it.
    """

    bytes: int
    count: int

    @classmethod
    def from_json(cls, value: JSON) -> TextRow:
        """Read a row; CorruptBlobError if it is not one."""
        if type(value) is dict and len(value) == 2:
            size, count = value.get("bytes"), value.get("count")
            if type(size) is int and type(count) is int and 0 <= size <= MAX_COUNT and 0 <= count <= MAX_COUNT:
                return cls(size, count)
        raise CorruptBlobError(f"A text's row in the index is damaged: {str(value)[:100]}. Run `rcc verify --repair`.")


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes in the files of a store.

    Args:
        blobs: Bytes of all blobs that have a row.
        texts: Bytes of all texts that have a row.
    """

    blobs: int = 0
    texts: int = 0

    @classmethod
    def from_json(cls, value: JSON) -> Usage:
        """Read the row; none means nothing stored yet."""
        if value is None:
            return cls()
        if type(value) is dict and len(value) == 2:
            blobs, texts = value.get("blobs"), value.get("texts")
            if type(blobs) is int and type(texts) is int and blobs >= 0 and texts >= 0:
                return cls(blobs, texts)
        raise CorruptBlobError(f"The index's row of bytes used is damaged: {value!r:.100}. Run `rcc verify --repair`.")

    @property
    def total(self) -> int:
        """Bytes of blobs and texts together."""
        return self.blobs + self.texts


def blob_row(rows: Rows, key: str) -> BlobRow | None:
    """Return a blob's row."""
    value = rows.get(BLOB + key)
    return None if value is None else BlobRow.from_json(value)


def text_row(rows: Rows, key: str) -> TextRow | None:
    """Return a text's row."""
    value = rows.get(TEXT + key)
    return None if value is None else TextRow.from_json(value)


def usage(rows: Rows) -> Usage:
    """Return the bytes in use."""
    return Usage.from_json(rows.get(USAGE))


def charge(rows: WriteTransaction, *, blobs: int = 0, texts: int = 0) -> None:
    """Book bytes that came (positive) or went (negative).

    Args:
        rows: The transaction.
        blobs: Bytes of memories.
        texts: Bytes of texts.

    Raises:
        CorruptBlobError: Less would be left than nothing: the count does not agree with the rows.
    """
    if not blobs and not texts:
        return
    use = usage(rows)
    after = Usage(use.blobs + blobs, use.texts + texts)
    if after.blobs < 0 or after.texts < 0:
        raise CorruptBlobError(
            f"The index counts {use.blobs:,} bytes of memories and {use.texts:,} of texts, fewer than it is about to "
            "free. Run `rcc verify --repair`."
        )
    set_row(rows, USAGE, after)


def document_row(rows: Rows, uid: str, document: str) -> DocumentRecord | None:
    """Return a document's record."""
    value = rows.get(f"{DOCUMENT}{uid}:{document}")
    if value is None:
        return None
    record = DocumentRecord.from_json(value)
    if record.id != document:
        raise CorruptBlobError(f"The index holds the record of {record.id!r} in the place of {document!r}.")
    return record


def document_rows(rows: Rows, uid: str) -> list[DocumentRecord]:
    """Return the records of a collection's documents, in order of first insertion."""
    prefix, records = f"{DOCUMENT}{uid}:", []
    for key, value in rows.scan(prefix):
        record = DocumentRecord.from_json(value)
        if key != prefix + record.id:
            raise CorruptBlobError(f"The index holds the record of {record.id!r} in the place of {key!r}.")
        records.append(record)
    return sorted(records, key=lambda record: record.order)


def set_row(rows: WriteTransaction, key: str, row: BlobRow | TextRow | Usage) -> None:
    """Write a row of this module."""
    rows.set(key, asdict(row))


def set_document(rows: WriteTransaction, uid: str, record: DocumentRecord) -> None:
    """Write a document's record."""
    rows.set(f"{DOCUMENT}{uid}:{record.id}", record.to_json())


def set_collection(rows: WriteTransaction, record: CollectionRecord) -> None:
    """Write a collection's record."""
    rows.set(COLLECTION + record.uid, record.to_json())


def retain_text(rows: WriteTransaction, key: str) -> None:
    """Count one more document for a text, which must have a row."""
    row = text_row(rows, key)
    assert row is not None
    set_row(rows, TEXT + key, replace(row, count=row.count + 1))


def retain_blobs(rows: WriteTransaction, keys: Iterable[str]) -> None:
    """Count one more document for each of these blobs, which must have rows."""
    for key in keys:
        row = blob_row(rows, key)
        assert row is not None
        set_row(rows, BLOB + key, replace(row, count=row.count + 1))


def release_blobs(rows: WriteTransaction, keys: Iterable[str]) -> set[str]:
    """Count one document less for each of these blobs; return those whose rows are gone, as nobody needs them.

    Args:
        rows: The transaction.
        keys: The blobs of each document; one that several of them need comes several times.
    """
    gone, freed = _release(rows, BLOB, keys, blob_row)
    charge(rows, blobs=-freed)
    return gone


def release_texts(rows: WriteTransaction, keys: Iterable[str]) -> set[str]:
    """Count one document less for each of these texts; see `release_blobs`."""
    gone, freed = _release(rows, TEXT, keys, text_row)
    charge(rows, texts=-freed)
    return gone


def _release(
    rows: WriteTransaction,
    kind: str,
    keys: Iterable[str],
    read: Callable[[Rows, str], BlobRow | TextRow | None],
) -> tuple[set[str], int]:
    """Return the keys whose rows are gone, and the bytes of their files."""
    gone, freed = set(), 0
    for key, times in Counter(keys).items():
        row = read(rows, key)
        if row is not None and row.count < times:
            raise CorruptBlobError(
                f"The index counts {row.count} documents with {kind}{key[:12]}…, and {times} of them are about to go. "
                "Run `rcc verify --repair`."
            )
        if row is None or row.count == times:
            rows.delete(kind + key)
            freed += row.bytes if row else 0
            gone.add(key)
        else:
            set_row(rows, kind + key, replace(row, count=row.count - times))
    return gone, freed
