"""The store's files together with their rows: blobs and texts that are put, read, counted and removed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rcc_integrations.errors import (
    BlobsMissingError,
    ConfigError,
    CorruptBlobError,
    StoreError,
    StoreFullError,
    StoreReadOnlyError,
    TextMissingError,
)
from rcc_integrations.memory.blobs import BlobFolder, checksum_of, to_bytes
from rcc_integrations.memory.index import Index, Rows, WriteTransaction
from rcc_integrations.memory.ledger import BLOB, TEXT, USAGE, BlobRow, TextRow, blob_row, set_row, text_row, usage
from rcc_integrations.memory.names import check_key
from rcc_integrations.memory.records import check_storage
from rcc_integrations.memory.texts import TextFolder, key_of

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Written:
    """A blob under its temporary name."""

    temp: Path
    bytes: int
    checksum: str


class Contents:
    """Blobs and texts of one store.

    A file gets its name, and loses it, only inside a write transaction of the index: of two processes, one that needs
    a blob and one that no longer does, each sees what the other has done.

    Args:
        index: The store's index.
        blobs: Folder of blobs.
        texts: Folder of texts.
        size_limit: Most bytes of blobs and texts together; None for no limit.
    """

    def __init__(self, index: Index, blobs: BlobFolder, texts: TextFolder, size_limit: int | None) -> None:
        self.index = index
        self.blobs = blobs
        self.texts = texts
        self.size_limit = size_limit

    def has_blobs(self, keys: Iterable[str]) -> set[str]:
        """Return those keys whose blob is stored (row and whole file)."""
        wanted = {check_key(key) for key in keys}
        with self.index.read() as rows:
            return {key for key in wanted if self.is_present(key, blob_row(rows, key))}

    def get_blobs(self, keys: Sequence[str], most: Sequence[int] | None = None) -> Iterator[dict[str, Tensor]]:
        """Give blobs' stored tensors, verified; see `MemoryStore.get_blobs`."""
        limits: Sequence[int | None] = most or [None] * len(keys)
        with self.index.read() as rows:
            found = [blob_row(rows, check_key(key)) for key in keys]
        for key, row, limit in zip(keys, found, limits, strict=True):
            try:
                if row is None or (limit is not None and row.bytes > limit):
                    yield self.get_blob(key, limit)
                else:
                    yield self.blobs.load(key, size=row.bytes, checksum=row.checksum)
            except (FileNotFoundError, StoreError):
                # It may have changed since the look at all rows.
                yield self.get_blob(key, limit)

    def get_blob(self, key: str, most: int | None = None) -> dict[str, Tensor]:
        """Return a blob's stored tensors, verified; see `MemoryStore.get_blob`."""
        check_key(key)
        # A repair may replace a broken file between the look at the row and the look at the file: look twice.
        for attempt in (1, 2):
            with self.index.read() as rows:
                row = blob_row(rows, key)
            if row is None:
                break
            if most is not None and row.bytes > most:
                raise CorruptBlobError(
                    f"Memory blob {key[:12]}… is said to have {row.bytes:,} bytes; a memory of its window has at most "
                    f"{most:,}. It was not made by this model, and is not read."
                )
            try:
                return self.blobs.load(key, size=row.bytes, checksum=row.checksum)
            except FileNotFoundError:
                continue
            except StoreError:
                with self.index.read() as rows:
                    if attempt == 2 or blob_row(rows, key) == row:
                        raise
        raise BlobsMissingError([key])

    def put_blobs(self, blobs: Mapping[str, Mapping[str, Tensor]], storage: str) -> None:
        """Store blobs durably; see `MemoryStore.put_blobs`."""
        from rcc_integrations.memory.quantization import encode

        check_storage(storage)
        self.check_writable()
        here, broken = self._sort_out(blobs, storage)
        written: dict[str, _Written] = {}
        try:
            pending = 0
            for key, tensors in blobs.items():
                if key in here:
                    continue
                data = to_bytes(encode(tensors, storage))
                pending += len(data)
                with self.index.read() as rows:
                    self._check_room(rows, pending)
                written[key] = _Written(self.blobs.write_temp(key, data), len(data), checksum_of(data))
            if written:
                self._place_blobs(blobs, written, broken, storage)
        finally:
            for item in written.values():
                self.blobs.discard(item.temp)

    def discard_blobs(self, keys: Iterable[str]) -> None:
        """Remove the files of these blobs; see `MemoryStore.discard_blobs`."""
        keys = [check_key(key) for key in keys]
        with self.index.write() as rows:
            for key in keys:
                row = blob_row(rows, key)
                if row is not None:
                    use = usage(rows)
                    set_row(rows, USAGE, replace(use, blobs=use.blobs - row.bytes))
                    if row.count:
                        set_row(rows, BLOB + key, replace(row, bytes=0, checksum=""))
                    else:
                        rows.delete(BLOB + key)
        with self.index.write() as rows:
            for key in keys:
                row = blob_row(rows, key)
                if row is None or not row.bytes:
                    self.blobs.remove(key)

    def text(self, key: str) -> str:
        """Return a text, verified; see `MemoryStore.text`."""
        try:
            return self.texts.load(check_key(key))
        except FileNotFoundError:
            raise TextMissingError([key]) from None

    def is_present(self, key: str, row: BlobRow | None) -> bool:
        """Tell whether a blob has its row and a file of the right size."""
        return row is not None and row.bytes > 0 and self.blobs.size(key) == row.bytes

    def require_blobs(self, rows: Rows, keys: Iterable[str], storage: str) -> None:
        """Refuse, inside a transaction, if a document's blobs are not all there in the collection's storage.

        Raises:
            BlobsMissingError: Some are missing.
            ConfigError: Some are stored otherwise.
        """
        found = {key: blob_row(rows, key) for key in keys}
        missing = [key for key, row in found.items() if not self.is_present(key, row)]
        if missing:
            raise BlobsMissingError(sorted(missing))
        for key, row in found.items():
            if row is not None and row.storage != storage:
                raise ConfigError(
                    f"Memory blob {key[:12]}… is stored as {row.storage}, the collection wants {storage}: make the "
                    "storage a part of what the key is computed from."
                )

    @contextmanager
    def text_ready(self, data: bytes) -> Iterator[Path | None]:
        """Give the temporary file of a text that is not stored yet, else None; it is gone afterwards."""
        key = key_of(data)
        temp = None
        if not self._has_text(key, data):
            with self.index.read() as rows:
                if text_row(rows, key) is None:
                    self._check_room(rows, len(data))
            temp = self.texts.write_temp(key, data)
        try:
            yield temp
        finally:
            if temp is not None:
                self.texts.discard(temp)

    def ensure_text(self, rows: WriteTransaction, data: bytes, temp: Path | None) -> str:
        """Make sure, inside a transaction, that a text has its row and file; return its key. Counts nothing."""
        key = key_of(data)
        row = text_row(rows, key)
        if row is None:
            self._check_room(rows, len(data))
        if temp is not None or row is None or self.texts.size(key) != len(data):
            # The file can have gone since `text_ready` looked, with the last document of that text.
            self.texts.place(temp if temp is not None and temp.exists() else self.texts.write_temp(key, data), key)
            self.texts.sync([key])
        if row is None:
            set_row(rows, TEXT + key, TextRow(bytes=len(data), count=0))
            use = usage(rows)
            set_row(rows, USAGE, replace(use, texts=use.texts + len(data)))
        return key

    def retain_text(self, rows: WriteTransaction, key: str) -> None:
        """Count one more document for a text."""
        row = text_row(rows, key)
        assert row is not None
        set_row(rows, TEXT + key, replace(row, count=row.count + 1))

    def recount_lost(self, rows: WriteTransaction, blobs: Iterable[str], text: str | None) -> None:
        """Count a document again for those of its blobs and its text whose rows were lost and made anew."""
        for key in blobs:
            row = blob_row(rows, key)
            if row is not None and row.count == 0:
                set_row(rows, BLOB + key, replace(row, count=1))
        if text is not None:
            found = text_row(rows, text)
            if found is not None and found.count == 0:
                set_row(rows, TEXT + text, replace(found, count=1))

    def sweep(self, blobs: Iterable[str], texts: Iterable[str]) -> None:
        """Remove the files of rows that are gone, unless they are back; a failure leaves work for `verify`."""
        blobs, texts = list(blobs), list(texts)
        if not blobs and not texts:
            return
        try:
            with self.index.write() as rows:
                for key in blobs:
                    if rows.get(BLOB + key) is None:
                        self.blobs.remove(key)
                for key in texts:
                    if rows.get(TEXT + key) is None:
                        self.texts.remove(key)
        except StoreError as error:
            # The change itself is done and durable: failing now would tell the caller otherwise.
            _log.warning("Files that are no longer needed stay until `rcc verify --repair`: %s", error)

    def _has_text(self, key: str, data: bytes) -> bool:
        try:
            return self.texts.size(key) == len(data) and self.texts.read(key) == data
        except (FileNotFoundError, CorruptBlobError):
            return False

    def _sort_out(self, keys: Iterable[str], storage: str) -> tuple[set[str], dict[str, BlobRow]]:
        """Return which keys are stored and whole, and the rows of those whose files are broken."""
        with self.index.read() as rows:
            found = {key: blob_row(rows, check_key(key)) for key in keys}
        here, broken = set(), {}
        for key, row in found.items():
            if row is not None and self.is_present(key, row):
                _same_storage(key, row, storage)
                try:
                    self.blobs.load(key, size=row.bytes, checksum=row.checksum)
                    here.add(key)
                except (FileNotFoundError, CorruptBlobError):
                    broken[key] = row
        return here, broken

    def _place_blobs(
        self,
        blobs: Mapping[str, Mapping[str, Tensor]],
        written: Mapping[str, _Written],
        broken: Mapping[str, BlobRow],
        storage: str,
    ) -> None:
        placed: list[str] = []
        with self.index.write() as rows:
            try:
                found = {key: blob_row(rows, key) for key in written}
                new = [key for key, row in found.items() if not self.is_present(key, row) or row == broken.get(key)]
                freed = sum(row.bytes for key in new if (row := found[key]) is not None)
                size = sum(written[key].bytes for key in new)
                self._check_room(rows, size - freed)
                for key in new:
                    temp = written[key].temp
                    if not temp.exists():
                        # A repair took it for a leftover: its clock differs, or this run stood still for long.
                        from rcc_integrations.memory.quantization import encode

                        temp = self.blobs.write_temp(key, to_bytes(encode(blobs[key], storage)))
                    self.blobs.place(temp, key)
                    placed.append(key)
                self.blobs.sync(new)
                self._book(rows, {key: written[key] for key in new}, found, storage)
                use = usage(rows)
                set_row(rows, USAGE, replace(use, blobs=use.blobs + size - freed))
            except BaseException:
                self._take_back(placed)
                raise
        for key in written.keys() - set(new):
            _same_storage(key, found[key], storage)

    def _book(
        self,
        rows: WriteTransaction,
        written: Mapping[str, _Written],
        found: Mapping[str, BlobRow | None],
        storage: str,
    ) -> None:
        for key, item in written.items():
            old = found[key]
            count = 0 if old is None else old.count
            set_row(rows, BLOB + key, BlobRow(item.bytes, item.checksum, storage, count, time.time()))

    def _take_back(self, placed: Sequence[str]) -> None:
        for key in placed:
            try:
                self.blobs.remove(key)
            except StoreError as error:
                _log.warning("A file without use stays until `rcc verify --repair`: %s", error)

    def _check_room(self, rows: Rows, more: int) -> None:
        used = usage(rows).total
        if self.size_limit is not None and more > 0 and used + more > self.size_limit:
            raise StoreFullError(
                f"The store holds {used:,} bytes of memories and texts; {more:,} more would exceed its limit of "
                f"{self.size_limit:,}. Delete documents or open it with a larger size_limit."
            )

    def check_writable(self) -> None:
        """Refuse a change of a store that is open for reading.

        Raises:
            StoreReadOnlyError: It is.
        """
        if self.index.read_only:
            raise StoreReadOnlyError(
                f"The store of {self.index.folder} is open for reading only: open it with write access to change it."
            )


def _same_storage(key: str, row: BlobRow | None, storage: str) -> None:
    if row is not None and row.storage != storage:
        raise ConfigError(
            f"Memory blob {key[:12]}… is already stored as {row.storage}, not {storage}: make the storage a part of "
            "what the key is computed from."
        )
