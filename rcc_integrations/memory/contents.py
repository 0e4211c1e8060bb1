"""The store's files together with their rows: memories, texts, and what goes when nothing needs it any more."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from rcc_integrations.errors import StoreError, StoreReadOnlyError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.blob_store import BlobStore
from rcc_integrations.memory.blobs import BlobFolder
from rcc_integrations.memory.index import Index, WriteTransaction
from rcc_integrations.memory.room import Room
from rcc_integrations.memory.text_store import TextStore
from rcc_integrations.memory.texts import TextFolder

_log = logging.getLogger(__name__)


class Contents:
    """Memories and texts of one store.

    Args:
        index: The store's index.
        blobs: Folder of memories.
        texts: Folder of texts.
        size_limit: Most bytes of both together; None for no limit.
    """

    def __init__(self, index: Index, blobs: BlobFolder, texts: TextFolder, size_limit: int | None) -> None:
        self.index = index
        self.room = Room(size_limit)
        self.blobs = BlobStore(index, blobs, self.room)
        self.texts = TextStore(index, texts, self.room)

    def recount_lost(self, rows: WriteTransaction, blobs: Iterable[str], text: str | None) -> None:
        """Count a document again for those of its blobs and its text whose rows were lost and made anew."""
        for key in blobs:
            row = ledger.blob_row(rows, key)
            if row is not None and row.count == 0:
                ledger.set_row(rows, ledger.BLOB + key, replace(row, count=1))
        if text is not None:
            found = ledger.text_row(rows, text)
            if found is not None and found.count == 0:
                ledger.set_row(rows, ledger.TEXT + text, replace(found, count=1))

    def sweep(self, blobs: Iterable[str], texts: Iterable[str]) -> None:
        """Remove the files of rows that are gone, unless they are back; a failure leaves work for `verify`."""
        blobs, texts = list(blobs), list(texts)
        if not blobs and not texts:
            return
        try:
            # Nothing is written to the index: the lock alone is wanted, which a full disk does not refuse.
            with self.index.write() as rows:
                for key in blobs:
                    if rows.get(ledger.BLOB + key) is None:
                        self.blobs.folder.remove(key)
                for key in texts:
                    if rows.get(ledger.TEXT + key) is None:
                        self.texts.folder.remove(key)
        except StoreError as error:
            # The change itself is done and durable: failing now would tell the caller otherwise.
            _log.warning("Files that are no longer needed stay until `rcc verify --repair`: %s", error)

    def check_writable(self) -> None:
        """Refuse a change of a store that is open for reading.

        Raises:
            StoreReadOnlyError: It is.
        """
        if self.index.read_only:
            raise StoreReadOnlyError(
                f"The store of {self.index.folder} is open for reading only: open it with write access to change it."
            )
