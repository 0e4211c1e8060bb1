"""Copies of the index, from which a repair takes what it cannot read in the index itself."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Final, TypeAlias

from diskcache.core import DBNAME

from rcc_integrations.errors import StoreError, StoreFormatError
from rcc_integrations.memory.index import CHANGES, Index
from rcc_integrations.memory.json_disk import Unreadable
from rcc_integrations.memory.json_value import JSON
from rcc_integrations.memory.shards import TEMP_PREFIX, sync_folder

#: Sound rows by key.
Rows: TypeAlias = dict[str, JSON]

_log = logging.getLogger(__name__)

FOLDER: Final = "backup"
#: The newest copy, and one that was the newest when it became an hour old.
SLOTS: Final = ("1", "2")
#: An index up to this size is copied whenever a store that was changed is closed.
SMALL: Final = 1 << 22
#: A larger one, and one of a store that stays open, not more often than this.
SECONDS: Final = 3600.0


class Backup:
    """The copies of one store's index.

    Args:
        store: The store's folder.
    """

    def __init__(self, store: Path) -> None:
        self.folder = store / FOLDER
        self._next = time.monotonic() + SECONDS

    def after_change(self, index: Index) -> None:
        """Make a copy if the store has been open, and changed, for long."""
        if time.monotonic() >= self._next:
            self.save(index)

    def on_close(self, index: Index) -> None:
        """Make a copy of an index that was changed, if it is small or the last copy is old."""
        with contextlib.suppress(OSError, StoreError):
            if index.changed and (index.size() <= SMALL or self._age(SLOTS[0]) >= SECONDS):
                self.save(index)

    def save(self, index: Index) -> None:
        """Make a copy now; a failure is logged, as the store itself is whole."""
        self._next = time.monotonic() + SECONDS
        temp = self.folder / f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self._make()
            index.copy_to(temp)
            newest, older = (self.folder / slot / DBNAME for slot in SLOTS)
            if self._age(SLOTS[0]) >= SECONDS and newest.exists():
                os.replace(newest, older)
            os.replace(temp, newest)
            for slot in SLOTS:
                sync_folder(self.folder / slot)
        except (OSError, StoreError) as error:
            _log.warning("No backup of the index was made in %s: %s", self.folder, error)
        finally:
            with contextlib.suppress(OSError):
                temp.unlink()

    def rows(self) -> Rows:
        """Return the sound rows of the newest copy that can be read; none where there is no copy."""
        best: Rows = {}
        for slot in SLOTS:
            try:
                index = Index(self.folder / slot, read_only=True)
            except (OSError, StoreError):
                continue
            try:
                with index.read() as rows:
                    if rows.check():
                        continue
                    found = {row.key: row.value for row in rows.everything() if not isinstance(row.value, Unreadable)}
                if not best or changes(found) > changes(best):
                    best = found
            except StoreError:
                continue
            finally:
                index.close()
        return best

    def _age(self, slot: str) -> float:
        try:
            return time.time() - os.stat(self.folder / slot / DBNAME).st_mtime
        except OSError:
            return float("inf")

    def _make(self) -> None:
        for folder in (self.folder, *(self.folder / slot for slot in SLOTS)):
            folder.mkdir(exist_ok=True)
            if not stat.S_ISDIR(os.lstat(folder).st_mode):
                raise StoreFormatError(f"{folder} is a link or not a folder, and is not followed.")


def changes(rows: Rows) -> int:
    """Return how many changes an index had seen whose rows these are."""
    number = rows.get(CHANGES)
    return number if type(number) is int else 0
