"""The memories of a store together with their rows."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rcc_integrations.errors import (
    BlobsMissingError,
    ConfigError,
    CorruptBlobError,
    FingerprintMismatchError,
    StoreError,
)
from rcc_integrations.memory import ledger
from rcc_integrations.memory.blobs import BlobFolder, checksum_of, to_bytes
from rcc_integrations.memory.index import Index, Rows
from rcc_integrations.memory.ledger import BlobRow, blob_row
from rcc_integrations.memory.names import check_key
from rcc_integrations.memory.records import CollectionRecord, check_storage
from rcc_integrations.memory.room import Room

if TYPE_CHECKING:
    from torch import Tensor

_log = logging.getLogger(__name__)

Tensors = Mapping[str, "Tensor"]


@dataclass(frozen=True, slots=True)
class _Written:
    """A blob under its temporary name."""

    temp: Path
    bytes: int
    checksum: str


class BlobStore:
    """Memories that are put and read.

    A file gets its name, and loses it, only inside a write transaction of the index: of two processes, one that needs
    a blob and one that no longer does, each sees what the other has done.

    Args:
        index: The store's index.
        folder: The folder of the blobs.
        room: What room is left.
    """

    def __init__(self, index: Index, folder: BlobFolder, room: Room) -> None:
        self.folder = folder
        self._index, self._room = index, room

    def present(self, keys: Iterable[str]) -> set[str]:
        """Return those keys whose blob is stored (row and file of the right size)."""
        wanted = {check_key(key) for key in keys}
        with self._index.read() as rows:
            return {key for key in wanted if self.is_present(key, blob_row(rows, key))}

    def is_present(self, key: str, row: BlobRow | None) -> bool:
        """Tell whether a blob has its row and a file of the right size."""
        return row is not None and row.bytes > 0 and self.folder.size(key) == row.bytes

    def get_all(
        self, keys: Sequence[str], most: Sequence[int] | None = None, fingerprint: str | None = None
    ) -> Iterator[dict[str, Tensor]]:
        """Give blobs' stored tensors, verified; see `MemoryStore.get_blobs`."""
        limits: Sequence[int | None] = most or [None] * len(keys)
        with self._index.read() as rows:
            found = [blob_row(rows, check_key(key)) for key in keys]
        for key, row, limit in zip(keys, found, limits, strict=True):
            try:
                if row is None or (limit is not None and row.bytes > limit):
                    yield self.get(key, limit, fingerprint)
                else:
                    _check_maker(key, row, fingerprint)
                    yield self.folder.load(key, size=row.bytes, checksum=row.checksum)
            except (FileNotFoundError, StoreError):
                # It may have changed since the look at all rows.
                yield self.get(key, limit, fingerprint)

    def get(self, key: str, most: int | None = None, fingerprint: str | None = None) -> dict[str, Tensor]:
        """Return a blob's stored tensors, verified; see `MemoryStore.get_blob`."""
        check_key(key)
        # A repair may replace a broken file between the look at the row and the look at the file: look twice.
        for attempt in (1, 2):
            with self._index.read() as rows:
                row = blob_row(rows, key)
            if row is None:
                break
            _check_maker(key, row, fingerprint)
            if most is not None and row.bytes > most:
                raise CorruptBlobError(
                    f"Memory blob {key[:12]}… is said to have {row.bytes:,} bytes; a memory of its window has at most "
                    f"{most:,}. It was not made by this model, and is not read."
                )
            try:
                return self.folder.load(key, size=row.bytes, checksum=row.checksum)
            except FileNotFoundError:
                continue
            except StoreError:
                with self._index.read() as rows:
                    if attempt == 2 or blob_row(rows, key) == row:
                        raise
        raise BlobsMissingError([key])

    def put(self, blobs: Mapping[str, Tensors], storage: str, fingerprint: str) -> None:
        """Store blobs durably; see `MemoryStore.put_blobs`."""
        from rcc_integrations.memory.quantization import encode

        check_storage(storage)
        here, broken = self._sort_out(blobs, storage)
        written: dict[str, _Written] = {}
        try:
            pending = 0
            for key, tensors in blobs.items():
                if key in here:
                    continue
                data = to_bytes(encode(tensors, storage))
                pending += len(data)
                with self._index.read() as rows:
                    self._room.check(rows, pending)
                written[key] = _Written(self.folder.write_temp(key, data), len(data), checksum_of(data))
            if written:
                self._place(blobs, written, broken, storage, fingerprint)
        finally:
            for item in written.values():
                self.folder.discard(item.temp)

    def require(self, rows: Rows, keys: Iterable[str], collection: CollectionRecord) -> None:
        """Refuse, inside a transaction, if a document's blobs are not all there and of its collection's kind.

        Raises:
            BlobsMissingError: Some are missing.
            ConfigError: Some are stored otherwise.
            FingerprintMismatchError: Some were made by another model.
        """
        found = {key: blob_row(rows, key) for key in keys}
        missing = [key for key, row in found.items() if not self.is_present(key, row)]
        if missing:
            raise BlobsMissingError(sorted(missing))
        for key, row in found.items():
            assert row is not None
            _check_maker(key, row, collection.fingerprint)
            if row.storage != collection.storage:
                raise ConfigError(
                    f"Memory blob {key[:12]}… is stored as {row.storage}, the collection wants {collection.storage}: "
                    "make the storage a part of what the key is computed from."
                )

    def _sort_out(self, keys: Iterable[str], storage: str) -> tuple[set[str], dict[str, BlobRow]]:
        """Return which keys are stored and whole, and the rows of those whose files are broken."""
        with self._index.read() as rows:
            found = {key: blob_row(rows, check_key(key)) for key in keys}
        here, broken = set(), {}
        for key, row in found.items():
            if row is not None and self.is_present(key, row):
                _same_storage(key, row, storage)
                try:
                    self.folder.load(key, size=row.bytes, checksum=row.checksum)
                    here.add(key)
                except (FileNotFoundError, CorruptBlobError):
                    broken[key] = row
        return here, broken

    def _place(
        self,
        blobs: Mapping[str, Tensors],
        written: Mapping[str, _Written],
        broken: Mapping[str, BlobRow],
        storage: str,
        fingerprint: str,
    ) -> None:
        placed: list[str] = []
        with self._index.write() as rows:
            try:
                found = {key: blob_row(rows, key) for key in written}
                new = [key for key, row in found.items() if not self.is_present(key, row) or row == broken.get(key)]
                freed = sum(row.bytes for key in new if (row := found[key]) is not None)
                size = sum(written[key].bytes for key in new)
                self._room.check(rows, size - freed)
                for key in new:
                    temp = written[key].temp
                    if not temp.exists():
                        # A repair took it for a leftover: its clock differs, or this run stood still for long.
                        from rcc_integrations.memory.quantization import encode

                        temp = self.folder.write_temp(key, to_bytes(encode(blobs[key], storage)))
                    self.folder.place(temp, key)
                    if found[key] is None:
                        placed.append(key)
                self.folder.sync(new)
                for key in new:
                    old, item = found[key], written[key]
                    count = 0 if old is None else old.count
                    row = BlobRow(item.bytes, item.checksum, storage, count, time.time(), fingerprint)
                    ledger.set_row(rows, ledger.BLOB + key, row)
                ledger.charge(rows, blobs=size - freed)
            except BaseException:
                self._take_back(placed)
                raise
        for key in written.keys() - set(new):
            _same_storage(key, found[key], storage)

    def _take_back(self, placed: Sequence[str]) -> None:
        for key in placed:
            try:
                self.folder.remove(key)
            except StoreError as error:
                _log.warning("A file without use stays until `rcc verify --repair`: %s", error)


def _check_maker(key: str, row: BlobRow, fingerprint: str | None) -> None:
    if fingerprint is not None and row.fingerprint not in ("", fingerprint):
        raise FingerprintMismatchError(
            f"Memory blob {key[:12]}… was made by another model: it has fingerprint {row.fingerprint}, and "
            f"{fingerprint} is needed. Run `rcc verify --repair` with the model of its collection."
        )


def _same_storage(key: str, row: BlobRow | None, storage: str) -> None:
    if row is not None and row.storage != storage:
        raise ConfigError(
            f"Memory blob {key[:12]}… is already stored as {row.storage}, not {storage}: make the storage a part of "
            "what the key is computed from."
        )
