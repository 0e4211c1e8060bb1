"""Bringing documents into a collection: read, cut, compress what is new, store."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rcc_integrations.document import Document
from rcc_integrations.errors import (
    BlobsMissingError,
    EmptyDocumentError,
    MissingExtraError,
    UnreadableFileError,
)
from rcc_integrations.memory.names import check_document_id
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord, WindowRecord
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.progress import Progress
from rcc_integrations.reader.sources import Readable

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.model.windows import Window

#: So many windows of several documents are compressed together.
_POOL = 64
#: Memories that other processes delete in between are made again so often.
_TRIES = 3


@dataclass
class AddReport:
    """A report of what `RCCReader.add` did.

    Args:
        added: Ids of new documents.
        replaced: Ids of documents that had changed.
        unchanged: Ids of documents that were there as they are, whole.
        restored: Ids of documents that were there unchanged, but whose text or memories were gone or damaged.
        skipped: Pairs of id and reason.
        windows_compressed: Windows that went through the encoder.
        windows_reused: Windows of added and replaced documents that were already in the store.
        tokens_compressed: Tokens of the windows that went through the encoder.
        seconds: How long it took.
        collection: The collection's record as it was before; with it, the very collection is meant, whatever it is
            called by now.
    """

    added: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    windows_compressed: int = 0
    windows_reused: int = 0
    tokens_compressed: int = 0
    seconds: float = 0.0
    collection: CollectionRecord | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain dicts, lists and numbers."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "collection"}


@dataclass
class _Job:
    document: Document
    windows: list[Window]
    keys: list[str]


class Ingester:
    """Adds documents to one collection.

    Args:
        store: The store.
        model: Returns the model that made or will make the collection's memories; asked when something is new.
        collection: The collection's record.
        ratio: Its compression ratio.
        on_progress: Callback invoked after every batch and document.
        on_windows: Callback invoked with the windows of documents that became visible.
        again: Compress documents that are there unchanged as well, as far as their memories are not stored.
    """

    def __init__(
        self,
        store: MemoryStore,
        model: Callable[[], RCCModel],
        collection: CollectionRecord,
        ratio: int,
        on_progress: Callable[[Progress], None] | None = None,
        on_windows: Callable[[Sequence[WindowRecord]], None] | None = None,
        *,
        again: bool = False,
    ) -> None:
        self._again, self._on_windows = again, on_windows
        self._store, self._load_model, self._collection, self._ratio = store, model, collection, ratio
        self._on_progress = on_progress
        self._known: dict[str, DocumentRecord] = {}
        self._jobs: list[_Job] = []
        self._total = 0
        self.report = AddReport(collection=collection)

    def add(self, sources: Sequence[Document | Readable], *, skip: bool) -> AddReport:
        """Add documents; those that are there unchanged cost nothing.

        Args:
            sources: What to add.
            skip: Note what cannot be read and go on, instead of raising.

        Raises:
            EmptyDocumentError: A document has no text (unless `skip`).
            UnreadableFileError: A source cannot be read (unless `skip`).
        """
        started = time.perf_counter()
        self._total = len(sources)
        self._known = self._stored([source.id for source in sources])
        for source in sources:
            try:
                self._take(source)
            except (EmptyDocumentError, UnreadableFileError, MissingExtraError) as error:
                if not skip:
                    # What was taken before is good and is kept.
                    self._flush()
                    raise
                self.report.skipped.append((source.id, str(error)))
                self._tell(source.id)
            if sum(len(job.windows) for job in self._jobs) >= _POOL:
                self._flush()
        self._flush()
        self.report.seconds = time.perf_counter() - started
        return self.report

    def _stored(self, ids: Sequence[str]) -> dict[str, DocumentRecord]:
        """Return what there is of some documents; a few of many are looked up one by one."""
        if len(ids) * 8 < self._collection.documents:
            return self._store.find_documents(self._collection, ids)
        return {record.id: record for record in self._store.documents(self._collection)}

    def _take(self, source: Document | Readable) -> None:
        known = self._known.get(check_document_id(source.id))
        same = known is not None and not self._again and known.digest == source.digest
        if same and known is not None and self._store.is_whole(known):
            self.report.unchanged.append(source.id)
            self._tell(source.id)
            return
        # With it comes torch, which what is unchanged does without.
        from rcc_integrations.model.fingerprint import blob_key

        document = source if isinstance(source, Document) else source.read()
        windows = self._model.cut(document.text) if document.text.strip() else []
        if not windows:
            raise EmptyDocumentError(f"Document {document.id!r} has no text to compress.")
        keys = [blob_key(self._collection.fingerprint, self._collection.storage, window.ids) for window in windows]
        self._jobs.append(_Job(document, windows, keys))

    @cached_property
    def _model(self) -> RCCModel:
        return self._load_model()

    def _flush(self) -> None:
        jobs, self._jobs = self._jobs, []
        if jobs:
            self._compress(jobs)
        put = [window for job in jobs for window in self._put(job)]
        if put and self._on_windows is not None:
            self._on_windows(put)

    def _put(self, job: _Job) -> list[WindowRecord]:
        document = job.document
        records = [
            WindowRecord(
                key, window.start, window.end, len(window.ids), self._model.slots(len(window.ids), self._ratio)
            )
            for key, window in zip(job.keys, job.windows, strict=True)
        ]
        for attempt in range(_TRIES):
            try:
                self._store.put_document(
                    # The record, not the name: another collection may have that by now.
                    self._collection,
                    document.id,
                    document.text,
                    windows=records,
                    tokens=sum(len(window.ids) for window in job.windows),
                    digest=document.digest,
                    metadata=document.metadata,
                )
                break
            except BlobsMissingError:
                # Another process removed the last document that used them in between.
                if attempt == _TRIES - 1:
                    raise
                self._compress([job])
        self._list(document).append(document.id)
        self._tell(document.id)
        return records

    def _list(self, document: Document) -> list[str]:
        """Return the list of the report that a document belongs to which was put."""
        known = self._known.get(document.id)
        if known is None:
            return self.report.added
        return self.report.restored if known.digest == document.digest else self.report.replaced

    def _compress(self, jobs: Iterable[_Job]) -> None:
        """Compress those windows that are not stored; what is done is durable batch by batch."""
        wanted: dict[str, tuple[tuple[int, ...], str]] = {}
        windows = 0
        for job in jobs:
            windows += len(job.windows)
            wanted |= {key: (window.ids, job.document.id) for key, window in zip(job.keys, job.windows, strict=True)}
        stored = self._store.has_blobs(wanted)
        missing = [key for key in wanted if key not in stored]
        self.report.windows_reused += windows - len(missing)
        if missing:
            self._model.check_weights()
        for numbers, memories in self._model.compress_batches([wanted[key][0] for key in missing], self._ratio):
            blobs = {missing[number]: memory for number, memory in zip(numbers, memories, strict=True)}
            self._store.put_blobs(blobs, storage=self._collection.storage, fingerprint=self._collection.fingerprint)
            self.report.windows_compressed += len(numbers)
            self.report.tokens_compressed += sum(len(wanted[key][0]) for key in blobs)
            self._tell(wanted[missing[numbers[0]]][1])

    def _tell(self, document: str) -> None:
        if self._on_progress is not None:
            report = self.report
            done = len(report.added) + len(report.replaced) + len(report.unchanged)
            done += len(report.restored) + len(report.skipped)
            self._on_progress(Progress(document, done, self._total, report.tokens_compressed))
