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

from rcc_integrations.errors import ConfigError, StoreError, StoreFormatError, UnknownCollectionError
from rcc_integrations.memory import documents, ledger
from rcc_integrations.memory.backup import Backup
from rcc_integrations.memory.blobs import BlobFolder
from rcc_integrations.memory.changes import matching
from rcc_integrations.memory.contents import Contents
from rcc_integrations.memory.expiry import Expiry
from rcc_integrations.memory.index import Index
from rcc_integrations.memory.json_value import check_object, check_text
from rcc_integrations.memory.layout import SEALED, VERSION, Layout, mark_upgraded, open_layout
from rcc_integrations.memory.lookup import (
    all_collections,
    collection_of,
    find_collection,
    find_document,
    is_over,
    named,
    take_snapshot,
)
from rcc_integrations.memory.lost_found import LostAndFound
from rcc_integrations.memory.names import check_collection_name, check_document_id
from rcc_integrations.memory.os_errors import access
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord, Snapshot, WindowRecord, check_storage
from rcc_integrations.memory.reserve import Reserve
from rcc_integrations.memory.texts import TextFolder

if TYPE_CHECKING:
    from torch import Tensor

    from rcc_integrations.memory.report import Problem, Rebuild, VerifyReport
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
        self._backup = Backup(layout.path)
        self._reserve = Reserve(layout.index)
        if not index.read_only:
            self._reserve.keep()

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
        with access(Path(path)):
            layout = open_layout(Path(path), create=create and not read_only)
            layout.check_index()
            read_only = read_only or not layout.is_writable()
            if not read_only:
                layout.clear_unfinished()
        index = Index(layout.index, read_only=read_only, sealed=layout.version >= SEALED)
        if layout.version != VERSION and not index.read_only:
            layout = _upgrade(layout, index)
        return cls(layout, index, size_limit)

    @classmethod
    def recover(cls, path: str | PathLike[str], *, dry_run: bool = False) -> tuple[Problem, ...]:
        """Make a store open again whose marker or index cannot be used; one that opens is left as it is.

        The marker is made anew. Of an index, all rows are taken that still fit their checksums, and from its backup
        those that it lost; the damaged files are kept in `lost+found`. Then `verify` with `repair` looks at the rest.

        Args:
            path: The store's folder.
            dry_run: Tell what would be done, and do nothing.

        Returns:
            What was wrong, and what was done.

        Raises:
            StoreError: The folder is no store, or nothing of its index can be saved.
        """
        from rcc_integrations.memory.recovery import recover

        return tuple(recover(Path(path), dry_run=dry_run))

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
        """Most bytes of memories and texts together."""
        return self._contents.room.limit

    def close(self) -> None:
        """Close the store; calls after that raise StoreError. Tensors that were read stay valid."""
        self._backup.on_close(self._index)
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
            return [record for record in all_collections(rows) if not is_over(record)]

    def collection(self, name: str) -> CollectionRecord:
        """Return one collection.

        Raises:
            UnknownCollectionError: There is no collection with this name.
        """
        name = check_collection_name(name)
        with self._index.read() as rows:
            return find_collection(rows, name)

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
                return matching(find_collection(rows, name), fingerprint, described, storage)
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
            record = find_collection(rows, old)
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
            record = replace(find_collection(rows, name), expiry=expiry)
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
                if rows.get(ledger.NAME + record.name) != record.uid or not is_over(collection_of(rows, record.uid)):
                    continue  # another process was first, or it was given more time
                blobs, texts = documents.remove_rows(rows, record, ledger.document_rows(rows, record.uid))
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
            record = find_collection(rows, name)
            keys = {key for document in ledger.document_rows(rows, record.uid) for key in document.keys}
            blobs = (ledger.blob_row(rows, key) for key in keys)
            return sum(blob.bytes for blob in blobs if blob is not None)

    def drop_collection(self, name: str) -> CollectionRecord:
        """Remove a collection and all its documents; return its last record.

        Raises:
            UnknownCollectionError: There is no collection with this name.
        """
        name = check_collection_name(name)

        def drop() -> tuple[CollectionRecord, set[str], set[str]]:
            with self._index.write() as rows:
                record = find_collection(rows, name)
                blobs, texts = documents.remove_rows(rows, record, ledger.document_rows(rows, record.uid))
                rows.delete(ledger.NAME + name)
                rows.delete(ledger.COLLECTION + record.uid)
            return record, blobs, texts

        record, blobs, texts = self._reserve.spend(drop)
        self._contents.sweep(blobs, texts)
        shutil.rmtree(self.routing_folder(record.uid), ignore_errors=True)
        self._backup.after_change(self._index)
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

    # Documents. A collection is meant by its name, or by its record: then it is that very collection, whatever it is
    # called by now, and never another one that got its name.

    def documents(self, collection: str | CollectionRecord) -> list[DocumentRecord]:
        """Return a collection's documents, in order of first insertion.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        return list(self.snapshot(collection).documents)

    def document(self, collection: str | CollectionRecord, id: str) -> DocumentRecord:
        """Return one document.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: The collection has no such document.
        """
        collection, id = named(collection), check_document_id(id)
        with self._index.read() as rows:
            return find_document(rows, find_collection(rows, collection), id)

    def find_documents(self, collection: str | CollectionRecord, ids: Iterable[str]) -> dict[str, DocumentRecord]:
        """Return those of some documents that there are, by id; the cost does not grow with the collection.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        collection = named(collection)
        wanted = [check_document_id(id) for id in dict.fromkeys(ids)]
        with self._index.read() as rows:
            uid = find_collection(rows, collection).uid
            records = ((id, ledger.document_row(rows, uid, id)) for id in wanted)
            return {id: record for id, record in records if record is not None}

    def snapshot(self, collection: str | CollectionRecord) -> Snapshot:
        """Return a collection with its documents as they are at one instant.

        Raises:
            UnknownCollectionError: There is no such collection.
            CorruptBlobError: It counts other documents than it has, or a record is damaged.
        """
        collection = named(collection)
        with self._index.read() as rows:
            return take_snapshot(rows, find_collection(rows, collection))

    def put_document(
        self,
        collection: str | CollectionRecord,
        id: str,
        text: str,
        *,
        windows: Sequence[WindowRecord],
        tokens: int,
        digest: str,
        metadata: Mapping[str, Any] | None = None,
    ) -> DocumentRecord:
        """Add a document, or replace the one with this id, in one transaction.

        The same content again (text, windows, digest, metadata) changes nothing, not even the revision; a text whose
        file is damaged or gone is put back. A replaced document keeps its place in the order; blobs and texts that
        nothing needs any more are removed.

        Args:
            collection: The collection. With its record, its uid and fingerprint are checked at that instant.
            id: The document's id, see `names.check_document_id`.
            text: Its whole text.
            windows: Its windows; their blobs must already be stored.
            tokens: Number of tokens of the text.
            digest: A value by which the caller recognises an unchanged source.
            metadata: JSON values.

        Raises:
            UnknownCollectionError: There is no such collection.
            BlobsMissingError: Blobs are not (or no longer) there; nothing changed. Put them again.
            FingerprintMismatchError: Blobs were made by another model than the collection's, or the collection has
                another fingerprint than the record tells; nothing changed.
            EmptyDocumentError: There is no window.
            ConfigError: A window lies outside the text, or an argument cannot work.
            StoreFullError: The text does not fit; nothing changed.
        """
        new = documents.NewDocument.checked(id, text, windows, tokens, digest, metadata)
        record = documents.put(self._index, self._contents, collection, new)
        self._backup.after_change(self._index)
        return record

    def update_document(
        self,
        collection: str | CollectionRecord,
        id: str,
        *,
        digest: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> DocumentRecord:
        """Change only a document's digest or metadata; None leaves them. A change increases the revision.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: The collection has no such document.
            ConfigError: An argument is invalid.
        """
        return documents.update(self._index, collection, id, digest, metadata)

    def delete_documents(self, collection: str | CollectionRecord, ids: Iterable[str]) -> list[DocumentRecord]:
        """Remove documents, all of them at one instant or none; return what they were.

        Args:
            collection: The collection.
            ids: Their ids; the same id twice counts once.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: One of them is not in the collection; nothing was changed.
        """
        ids = list(ids)
        removed = self._reserve.spend(lambda: documents.delete(self._index, self._contents, collection, ids))
        self._backup.after_change(self._index)
        return removed

    # Contents

    def text(self, text_key: str) -> str:
        """Return a text after verifying it against its key.

        Raises:
            TextMissingError: It does not exist: the snapshot that named it is outdated, or the store is damaged.
            CorruptBlobError: It is damaged.
        """
        return self._contents.texts.get(text_key)

    def is_whole(self, document: DocumentRecord) -> bool:
        """Tell whether a document's text is there and what was stored, and its memories are there.

        Raises:
            StoreAccessError: That cannot be told now.
        """
        return self._contents.texts.is_whole(document.text_key) and (
            self._contents.blobs.present(document.keys) == document.keys
        )

    def has_blobs(self, keys: Iterable[str]) -> set[str]:
        """Return those keys whose blobs are stored."""
        return self._contents.blobs.present(keys)

    def put_blobs(
        self, blobs: Mapping[str, Mapping[str, Tensor]], *, storage: str = "int8", fingerprint: str = ""
    ) -> None:
        """Store memories; they are durable when the call returns, all of them or none.

        A key that is already stored is left as it is. A blob that no document uses yet stays until `verify` with
        `repair=True` finds it unused after the grace period, so that an interrupted run can continue.

        Args:
            blobs: Floating tensors by name by key; see `quantization.encode`.
            storage: `int8`, `bfloat16` or `float32`; should be a part of what keys are computed from.
            fingerprint: Fingerprint of the model that made them: documents of collections of another one do not take
                them. Empty for unknown.

        Raises:
            ConfigError: The tensors cannot be stored in this format, or a key is stored in another.
            ModelError: A tensor contains NaN or infinity.
            StoreFullError: They do not fit; nothing was changed.
        """
        self._contents.check_writable()
        self._contents.blobs.put(blobs, storage, check_text(fingerprint, "The fingerprint"))

    def get_blob(self, key: str, *, most: int | None = None, fingerprint: str | None = None) -> dict[str, Tensor]:
        """Return a memory in its stored form, mapped from disk; `quantization.decode` gives floats.

        The file is verified against the index's checksum at every call.

        Args:
            key: Its key.
            most: The most bytes that it can have; a larger one is refused before it is read.
            fingerprint: Fingerprint of the model that must have made it; None takes any.

        Raises:
            BlobsMissingError: It is not there: the snapshot that named it is old, or the store is damaged.
            CorruptBlobError: It is not what was stored.
            FingerprintMismatchError: Another model made it.
            StoreAccessError: It cannot be read now.
        """
        return self._contents.blobs.get(key, most, fingerprint)

    def get_blobs(
        self, keys: Sequence[str], *, most: Sequence[int] | None = None, fingerprint: str | None = None
    ) -> Iterator[dict[str, Tensor]]:
        """Give memories one after the other, each as `get_blob` does; what the index says is looked up once for all.

        Args:
            keys: Their keys.
            most: The most bytes that each can have.
            fingerprint: As for `get_blob`.

        Raises:
            StoreError: As `get_blob`.
        """
        return self._contents.blobs.get_all(keys, most, fingerprint)

    # Care

    def holds_files(self) -> bool:
        """Tell whether there is any file of a memory or text, whatever the index says."""
        return self._layout.first_part() is not None

    def stats(self) -> StoreStats:
        """Return counts and sizes."""
        from rcc_integrations.memory.stats import collect

        return collect(self._index, self._contents)

    def verify(
        self,
        repair: bool = False,
        grace: float = 3600.0,
        *,
        dry_run: bool = False,
        rebuild: Rebuild | None = None,
    ) -> VerifyReport:
        """Check everything in the store; others may go on reading and writing.

        A repair deletes nothing. What it takes out goes to the folder `lost+found` with a record of why; nothing is
        taken out while SQLite's integrity check fails, or when anything could not be read for another reason than
        that it is not there.

        Args:
            repair: Put right what can be put right, and take out what is broken so that documents can be added again.
            grace: Seconds that files and memories that nothing needs are left alone.
            dry_run: With `repair`: tell what it would do, and do nothing.
            rebuild: Tells fingerprint and description of the model of a collection whose record is lost, if it can
                prove them; see `report.LostCollection`.

        Raises:
            StoreReadOnlyError: A repair was asked of a store that can only be read.
            StoreError: The index cannot be read.
        """
        from rcc_integrations.memory.routing_check import check_routing
        from rcc_integrations.memory.verify import verify

        with access(self.path):
            report = verify(
                self._index,
                self._contents,
                self._backup,
                repair=repair,
                grace=grace,
                dry_run=dry_run,
                rebuild=rebuild,
            )
            if any(problem.kind == "index" and not problem.repaired for problem in report.problems):
                return report
            try:
                uids = {record.uid for record in self.collections()}
            except StoreError:
                return report  # which indices belong to nothing cannot be told
            problems = check_routing(self.path, uids, LostAndFound(self.path, dry_run=dry_run) if repair else None)
        return replace(report, problems=(*report.problems, *problems))

    def _expired(self, name: str | None) -> list[CollectionRecord]:
        with self._index.read() as rows:
            records = all_collections(rows)
        return [record for record in records if record.name == (name or record.name) and is_over(record)]


def _upgrade(layout: Layout, index: Index) -> Layout:
    """Bring a store of an older format to the present one: first every row at one instant, then the marker."""
    try:
        if layout.version < SEALED:
            with index.write() as rows:
                rows.seal()
            index.sealed = True
        return mark_upgraded(layout)
    except BaseException:
        index.close()
        raise
