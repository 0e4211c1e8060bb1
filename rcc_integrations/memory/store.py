"""The store: a folder of memories, texts and their index, shared safely by threads and processes."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rcc_integrations.errors import (
    ConfigError,
    CorruptBlobError,
    StoreFormatError,
    UnknownCollectionError,
    UnknownDocumentError,
)
from rcc_integrations.memory import ledger
from rcc_integrations.memory.blobs import BlobFolder
from rcc_integrations.memory.changes import checked_windows, counted, matching, same_content
from rcc_integrations.memory.contents import Contents
from rcc_integrations.memory.expiry import Expiry
from rcc_integrations.memory.index import Index, Rows, WriteTransaction
from rcc_integrations.memory.json_value import JSON, check_object, check_text
from rcc_integrations.memory.layout import VERSION, Layout, mark_upgraded, open_layout
from rcc_integrations.memory.names import check_collection_name, check_document_id
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord, Snapshot, WindowRecord, check_storage
from rcc_integrations.memory.texts import TextFolder, encode_text

if TYPE_CHECKING:
    from torch import Tensor

    from rcc_integrations.memory.report import VerifyReport
    from rcc_integrations.memory.stats import StoreStats


class MemoryStore:
    """A folder of collections of documents, kept as compressed memories.

    Use `MemoryStore.open` to get one. Every change is atomic, durable when the call returns, and seen by other threads
    and processes at a single moment. A process that is killed at any point leaves a store that opens.
    """

    def __init__(self, layout: Layout, index: Index, size_limit: int | None) -> None:
        self._layout = layout
        self._index = index
        self._contents = Contents(index, BlobFolder(layout.blobs), TextFolder(layout.texts), size_limit)

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        create: bool = True,
        read_only: bool = False,
        size_limit: int | None = None,
    ) -> Self:
        """Open a store, or create an empty one.

        A store of the previous format is upgraded when it is opened for writing; if that is interrupted, the store
        still opens and the next process continues. Opened for reading, it is read as it is.

        Args:
            path: The store's folder.
            create: Whether to create a store if the folder does not exist or is empty.
            read_only: Change nothing. A folder without write permission is always opened read-only.
            size_limit: Maximum size of memories and texts in bytes, for writes through this object; None for no limit.

        Raises:
            StoreError: There is no store and `create` is false, or the index cannot be opened.
            StoreFormatError: The folder is not a store, has an unsupported format, or was tampered with.
            StoreReadOnlyError: The folder is not writable, and cannot be read without a write.
            ConfigError: The size limit is negative, or the index library would misread the path.
        """
        if size_limit is not None and (type(size_limit) is not int or size_limit < 0):
            raise ConfigError(f"size_limit must be a number of bytes or None, not {size_limit!r}.")
        layout = open_layout(Path(path), create=create and not read_only)
        layout.check_index()
        current = layout.version == VERSION
        index = Index(layout.index, read_only=read_only or not layout.is_writable(), sealed=current)
        if not current and not index.read_only:
            layout = _upgrade(layout, index)
        return cls(layout, index, size_limit)

    @property
    def path(self) -> Path:
        """The store's folder, absolute."""
        return self._layout.path

    @property
    def id(self) -> str:
        """The random id of the store."""
        return self._layout.id

    @property
    def read_only(self) -> bool:
        """Whether changes are refused."""
        return self._index.read_only

    @property
    def size_limit(self) -> int | None:
        """Maximum size of memories and texts in bytes."""
        return self._contents.size_limit

    def close(self) -> None:
        """Close the store; later calls raise StoreError. Tensors that were read stay valid."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Collections

    def collections(self) -> list[CollectionRecord]:
        """Return all collections, by name."""
        with self._index.read() as rows:
            return [record for record in self._all(rows) if not is_over(record)]

    def collection(self, name: str) -> CollectionRecord:
        """Return one collection.

        Raises:
            UnknownCollectionError: There is no collection with this name.
        """
        name = check_collection_name(name)
        with self._index.read() as rows:
            return self._collection(rows, name)

    def create_collection(
        self, name: str, *, fingerprint: str, model: Mapping[str, Any], storage: str = "int8"
    ) -> CollectionRecord:
        """Return the collection with this name; create it if it does not exist.

        Args:
            name: See `names.check_collection_name`.
            fingerprint: Fingerprint of the model that makes its memories.
            model: Description of the model, JSON.
            storage: Number format of its memories.

        Raises:
            FingerprintMismatchError: It exists and has memories of another model.
            ConfigError: It exists with another number format, or an argument is invalid.
        """
        name = check_collection_name(name)
        check_storage(storage)
        check_text(fingerprint, "The fingerprint")
        described = check_object(model, "The model's description")
        self.sweep_expired(name)
        with self._index.write() as rows:
            if rows.get(ledger.NAME + name) is not None:
                return matching(self._collection(rows, name), fingerprint, described, storage)
            record = CollectionRecord(
                uid=secrets.token_hex(16),
                name=name,
                fingerprint=fingerprint,
                model=described,
                storage=storage,
                revision=0,
                documents=0,
                windows=0,
                tokens=0,
                slots=0,
                created=time.time(),
            )
            ledger.set_collection(rows, record)
            rows.set(ledger.NAME + name, record.uid)
        return record

    def rename_collection(self, old: str, new: str) -> CollectionRecord:
        """Rename a collection; its content, uid and revision stay.

        Raises:
            UnknownCollectionError: There is no collection with the old name.
            ConfigError: The new name is in use.
        """
        old, new = check_collection_name(old), check_collection_name(new)
        self.sweep_expired(new)
        with self._index.write() as rows:
            record = self._collection(rows, old)
            if old == new:
                return record
            if rows.get(ledger.NAME + new) is not None:
                raise ConfigError(f"There is a collection {new!r} already: drop it first, or choose another name.")
            record = replace(record, name=new)
            rows.delete(ledger.NAME + old)
            rows.set(ledger.NAME + new, record.uid)
            ledger.set_collection(rows, record)
        return record

    def set_expiry(self, name: str, expiry: Expiry | None) -> CollectionRecord:
        """Say when a collection is gone by itself; None for never. Its content and revision stay.

        Raises:
            UnknownCollectionError: There is no collection with this name.
        """
        name = check_collection_name(name)
        with self._index.write() as rows:
            record = replace(self._collection(rows, name), expiry=expiry)
            ledger.set_collection(rows, record)
        return record

    def renew(self, record: CollectionRecord) -> None:
        """Begin the time of a collection anew that was asked for, if it wants that and some of it has gone by.

        Args:
            record: The collection's record as it is now.
        """
        if self.read_only or record.expiry is None or not record.expiry.is_due:
            return
        with contextlib.suppress(UnknownCollectionError):  # it was dropped or renamed in between
            self.set_expiry(record.name, record.expiry.renewed())

    def sweep_expired(self, name: str | None = None) -> list[CollectionRecord]:
        """Remove expired collections, which no reader sees any more, from disk; return what they were.

        Args:
            name: Only the one of this name; all if not given.
        """
        swept = []
        for record in self._expired(name):
            with self._index.write() as rows:
                if rows.get(ledger.NAME + record.name) != record.uid or not is_over(self._by_uid(rows, record.uid)):
                    continue  # another process was first, or it was given more time
                blobs, texts = self._remove(rows, record, ledger.document_rows(rows, record.uid))
                rows.delete(ledger.NAME + record.name)
                rows.delete(ledger.COLLECTION + record.uid)
            self._contents.sweep(blobs, texts)
            swept.append(record)
        return swept

    def collection_bytes(self, name: str) -> int:
        """Return the bytes of a collection's memories on disk; those that it shares with others count in full.

        Raises:
            UnknownCollectionError: There is no collection with this name.
        """
        name = check_collection_name(name)
        with self._index.read() as rows:
            record = self._collection(rows, name)
            keys = {key for document in ledger.document_rows(rows, record.uid) for key in document.keys}
            blobs = (ledger.blob_row(rows, key) for key in keys)
            return sum(blob.bytes for blob in blobs if blob is not None)

    def drop_collection(self, name: str) -> CollectionRecord:
        """Remove a collection and all its documents; return its last record.

        Raises:
            UnknownCollectionError: There is no collection with this name.
        """
        name = check_collection_name(name)
        with self._index.write() as rows:
            record = self._collection(rows, name)
            blobs, texts = self._remove(rows, record, ledger.document_rows(rows, record.uid))
            rows.delete(ledger.NAME + name)
            rows.delete(ledger.COLLECTION + record.uid)
        self._contents.sweep(blobs, texts)
        shutil.rmtree(self.routing_folder(record.uid), ignore_errors=True)
        return record

    def routing_folder(self, uid: str) -> Path:
        """Return where the routing index of a collection is, derived data that may be missing.

        Args:
            uid: The collection's uid.

        Raises:
            StoreFormatError: A link stands in its place, which is not followed.
        """
        folder = self.path / "routing" / uid
        for place in (folder.parent, folder):
            if place.is_symlink():
                raise StoreFormatError(f"{place} is a link, which is not followed: remove it.")
        return folder

    # Documents

    def documents(self, name: str) -> list[DocumentRecord]:
        """Return a collection's documents, in order of first insertion.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        return list(self.snapshot(name).documents)

    def document(self, name: str, id: str) -> DocumentRecord:
        """Return one document.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: The collection has no such document.
        """
        name, id = check_collection_name(name), check_document_id(id)
        with self._index.read() as rows:
            return self._document(rows, self._collection(rows, name), id)

    def find_documents(self, name: str, ids: Iterable[str]) -> dict[str, DocumentRecord]:
        """Return those of some documents that there are, by id; the cost does not grow with the collection.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        name = check_collection_name(name)
        wanted = [check_document_id(id) for id in dict.fromkeys(ids)]
        with self._index.read() as rows:
            uid = self._collection(rows, name).uid
            records = ((id, ledger.document_row(rows, uid, id)) for id in wanted)
            return {id: record for id, record in records if record is not None}

    def snapshot(self, name: str) -> Snapshot:
        """Return a consistent snapshot of a collection and its documents.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        name = check_collection_name(name)
        with self._index.read() as rows:
            record = self._collection(rows, name)
            return Snapshot(record, tuple(ledger.document_rows(rows, record.uid)))

    def put_document(
        self,
        name: str,
        id: str,
        text: str,
        *,
        windows: Sequence[WindowRecord],
        tokens: int,
        digest: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> DocumentRecord:
        """Add a document, or replace the one with this id, in one transaction.

        The same content again (text, windows, digest, metadata) changes nothing, not even the revision. A replaced
        document keeps its place in the order; blobs and texts that are no longer used are removed.

        Args:
            name: The collection.
            id: The document's id, see `names.check_document_id`.
            text: Its whole text.
            windows: Its windows; their blobs must already be stored.
            tokens: Number of tokens of the text.
            digest: A value by which the caller recognises an unchanged source.
            metadata: JSON values.

        Raises:
            UnknownCollectionError: There is no such collection.
            BlobsMissingError: Blobs are not stored (any more); nothing was changed. Store them again.
            EmptyDocumentError: There are no windows.
            ConfigError: A window lies outside the text, or an argument is invalid.
            StoreFullError: The text does not fit; nothing was changed.
        """
        name, id = check_collection_name(name), check_document_id(id)
        data = encode_text(text)
        windows = checked_windows(windows, id, len(text))
        if type(tokens) is not int or tokens < 0:
            raise ConfigError(f"The tokens of document {id!r} must be a whole number, not {tokens!r}.")
        check_text(digest, "The digest")
        described = check_object(metadata or {}, "The metadata")
        keys = {window.key for window in windows}
        self._contents.check_writable()
        with self._contents.text_ready(data) as temp, self._index.write() as rows:
            collection = self._collection(rows, name)
            self._contents.require_blobs(rows, keys, collection.storage)
            text_key = self._contents.ensure_text(rows, data, temp)
            old = ledger.document_row(rows, collection.uid, id)
            record = DocumentRecord(
                id=id,
                order=collection.revision + 1 if old is None else old.order,
                text_key=text_key,
                characters=len(text),
                tokens=tokens,
                slots=sum(window.slots for window in windows),
                windows=windows,
                digest=digest,
                metadata=described,
                added=time.time(),
            )
            had = set() if old is None else old.keys
            if old is not None:
                self._contents.recount_lost(rows, keys & had, text_key if text_key == old.text_key else None)
                if same_content(old, record):
                    return old
            ledger.retain_blobs(rows, keys - had)
            blobs = ledger.release_blobs(rows, had - keys)
            texts: set[str] = set()
            if old is None or old.text_key != text_key:
                self._contents.retain_text(rows, text_key)
                texts = set() if old is None else ledger.release_texts(rows, [old.text_key])
            ledger.set_document(rows, collection.uid, record)
            ledger.set_collection(rows, counted(collection, [record], [] if old is None else [old]))
        self._contents.sweep(blobs, texts)
        return record

    def update_document(
        self, name: str, id: str, *, digest: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> DocumentRecord:
        """Change only a document's digest or metadata; None leaves them. A change increases the revision.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: The collection has no such document.
            ConfigError: An argument is invalid.
        """
        name, id = check_collection_name(name), check_document_id(id)
        described = None if metadata is None else check_object(metadata, "The metadata")
        if digest is not None:
            check_text(digest, "The digest")
        with self._index.write() as rows:
            collection = self._collection(rows, name)
            old = self._document(rows, collection, id)
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

    def delete_documents(self, name: str, ids: Iterable[str]) -> list[DocumentRecord]:
        """Remove documents in one transaction, all of them or none; return their last records.

        Args:
            name: The collection.
            ids: Ids of the documents.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: One of them is not in the collection; nothing was changed.
        """
        name = check_collection_name(name)
        wanted = list(dict.fromkeys(check_document_id(id) for id in ids))
        with self._index.write() as rows:
            collection = self._collection(rows, name)
            records = [self._document(rows, collection, id) for id in wanted]
            if not records:
                return []
            blobs, texts = self._remove(rows, collection, records)
            ledger.set_collection(rows, counted(collection, [], records))
        self._contents.sweep(blobs, texts)
        return records

    # Contents

    def text(self, text_key: str) -> str:
        """Return a text after verifying it against its key.

        Raises:
            TextMissingError: It does not exist: the snapshot that named it is outdated, or the store is damaged.
            CorruptBlobError: It is damaged.
        """
        return self._contents.text(text_key)

    def has_blobs(self, keys: Iterable[str]) -> set[str]:
        """Return the keys whose blobs are stored."""
        return self._contents.has_blobs(keys)

    def put_blobs(self, blobs: Mapping[str, Mapping[str, Tensor]], *, storage: str = "int8") -> None:
        """Store memories; they are durable when the call returns, all of them or none.

        A key that is already stored is left as it is. A blob that no document uses yet stays until `verify` with
        `repair=True` finds it unused after the grace period, so that an interrupted run can continue.

        Args:
            blobs: Floating tensors by name by key; see `quantization.encode`.
            storage: `int8`, `bfloat16` or `float32`; the keys should depend on it.

        Raises:
            ConfigError: The tensors cannot be stored in this format, or a key is stored in another.
            ModelError: A tensor contains NaN or infinity.
            StoreFullError: They do not fit; nothing was changed.
        """
        self._contents.put_blobs(blobs, storage)

    def get_blob(self, key: str, *, most: int | None = None) -> dict[str, Tensor]:
        """Return a memory in its stored form, mapped from disk; `quantization.decode` gives floats.

        The file is verified against the index's checksum at every call.

        Args:
            key: Its key.
            most: Maximum size in bytes; a larger blob is refused before it is read.

        Raises:
            BlobsMissingError: It does not exist: the snapshot that named it is outdated, or the store is damaged.
            CorruptBlobError: It is damaged.
        """
        return self._contents.get_blob(key, most)

    def get_blobs(self, keys: Sequence[str], *, most: Sequence[int] | None = None) -> Iterator[dict[str, Tensor]]:
        """Yield memories one after the other, each as `get_blob` returns it; the index is read once for all of them.

        Args:
            keys: Their keys.
            most: Maximum size in bytes of each.

        Raises:
            BlobsMissingError: As `get_blob`.
            CorruptBlobError: As `get_blob`.
        """
        return self._contents.get_blobs(keys, most)

    def discard_blobs(self, keys: Iterable[str]) -> None:
        """Remove damaged memories so that `put_blobs` stores them again; documents keep referring to them.

        Args:
            keys: Their keys; unknown ones are ignored.
        """
        self._contents.discard_blobs(keys)

    # Care

    def stats(self) -> StoreStats:
        """Return counts and sizes."""
        from rcc_integrations.memory.stats import collect

        return collect(self._index, self._contents)

    def verify(self, repair: bool = False, grace: float = 3600.0) -> VerifyReport:
        """Check everything in the store; others may continue to read and write.

        Args:
            repair: Remove unused files, correct counts, and discard damaged files so that documents can be added again.
            grace: Seconds for which unused memories and temporary files are kept.

        Raises:
            StoreReadOnlyError: `repair` was requested for a read-only store.
        """
        from rcc_integrations.memory.verify import verify

        return verify(self._index, self._contents, repair=repair, grace=grace)

    # Rows

    def _expired(self, name: str | None) -> list[CollectionRecord]:
        with self._index.read() as rows:
            return [record for record in self._all(rows) if record.name == (name or record.name) and is_over(record)]

    def _by_uid(self, rows: Rows, uid: JSON) -> CollectionRecord:
        record = CollectionRecord.from_json(rows.get(f"{ledger.COLLECTION}{uid}"))
        if record.uid != uid:
            raise CorruptBlobError(f"The index holds collection {record.uid!r} in the place of {uid!r}.")
        return record

    def _collection(self, rows: Rows, name: str) -> CollectionRecord:
        uid = rows.get(ledger.NAME + name)
        if uid is None or is_over(record := self._by_uid(rows, uid)):
            raise UnknownCollectionError(name, [record.name for record in self._all(rows) if not is_over(record)])
        if record.name != name:
            raise CorruptBlobError(f"The index holds collection {record.name!r} under the name {name!r}.")
        return record

    def _all(self, rows: Rows) -> list[CollectionRecord]:
        return [self._by_uid(rows, uid) for _, uid in rows.scan(ledger.NAME)]

    def _document(self, rows: Rows, collection: CollectionRecord, id: str) -> DocumentRecord:
        record = ledger.document_row(rows, collection.uid, id)
        if record is None:
            prefix = f"{ledger.DOCUMENT}{collection.uid}:"
            known = [key.removeprefix(prefix) for key, _ in rows.scan(prefix)]
            raise UnknownDocumentError(id, collection.name, known[:2000])
        return record

    def _remove(
        self, rows: WriteTransaction, collection: CollectionRecord, records: Sequence[DocumentRecord]
    ) -> tuple[set[str], set[str]]:
        blobs = ledger.release_blobs(rows, [key for record in records for key in record.keys])
        texts = ledger.release_texts(rows, [record.text_key for record in records])
        for record in records:
            rows.delete(f"{ledger.DOCUMENT}{collection.uid}:{record.id}")
        return blobs, texts


def is_over(record: CollectionRecord) -> bool:
    """Tell whether a collection has expired: it is gone for every reader, though still on disk."""
    return record.expiry is not None and record.expiry.is_over


def _upgrade(layout: Layout, index: Index) -> Layout:
    """Bring a store of format version 1 to the present one: first every row at one instant, then the marker."""
    try:
        with index.write() as rows:
            rows.seal()
        index.sealed = True
        return mark_upgraded(layout)
    except BaseException:
        index.close()
        raise
