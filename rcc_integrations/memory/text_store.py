"""The texts of a store together with their rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rcc_integrations.errors import CorruptBlobError, StoreAccessError, TextMissingError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.index import Index, WriteTransaction
from rcc_integrations.memory.names import check_key
from rcc_integrations.memory.room import Room
from rcc_integrations.memory.texts import TextFolder, key_of


class TextStore:
    """Texts that are put, read and counted.

    Args:
        index: The store's index.
        folder: The folder of the texts.
        room: What room is left.
    """

    def __init__(self, index: Index, folder: TextFolder, room: Room) -> None:
        self.folder = folder
        self._index, self._room = index, room

    def get(self, key: str) -> str:
        """Return a text, verified; see `MemoryStore.text`."""
        try:
            return self.folder.load(check_key(key))
        except FileNotFoundError:
            raise TextMissingError([key]) from None

    def is_whole(self, key: str) -> bool:
        """Tell whether a text is there and what was stored."""
        try:
            return key_of(self.folder.read(key)) == key
        except (FileNotFoundError, CorruptBlobError):
            return False

    @contextmanager
    def ready(self, data: bytes) -> Iterator[Path | None]:
        """Give the temporary file of a text that is not stored yet, else None; it is gone afterwards."""
        key = key_of(data)
        temp = None
        if not self._has(key, data):
            with self._index.read() as rows:
                if ledger.text_row(rows, key) is None:
                    self._room.check(rows, len(data))
            temp = self.folder.write_temp(key, data)
        try:
            yield temp
        finally:
            if temp is not None:
                self.folder.discard(temp)

    def ensure(self, rows: WriteTransaction, data: bytes, temp: Path | None) -> str:
        """Make sure, inside a transaction, that a text has its row and file; return its key. Counts nothing."""
        key = key_of(data)
        row = ledger.text_row(rows, key)
        if row is None:
            self._room.check(rows, len(data))
        if temp is not None or row is None or self.folder.size(key) != len(data):
            # The file can have gone since `ready` looked, with the last document of that text.
            self.folder.place(temp if temp is not None and temp.exists() else self.folder.write_temp(key, data), key)
            self.folder.sync([key])
        if row is None:
            ledger.set_row(rows, ledger.TEXT + key, ledger.TextRow(bytes=len(data), count=0))
            ledger.charge(rows, texts=len(data))
        return key

    def _has(self, key: str, data: bytes) -> bool:
        try:
            return self.folder.size(key) == len(data) and self.folder.read(key) == data
        except (FileNotFoundError, CorruptBlobError, StoreAccessError):
            return False
