"""Where a repair puts what it takes out of a store, with a record of why: it deletes nothing."""

from __future__ import annotations

import json
import os
import secrets
import stat
import time
from pathlib import Path
from typing import Any, Final

from rcc_integrations.errors import StoreFormatError
from rcc_integrations.memory.os_errors import write_error
from rcc_integrations.memory.shards import sync_folder

FOLDER: Final = "lost+found"
RECORD: Final = "record.jsonl"


class LostAndFound:
    """The folder of one repair under `lost+found`; it is made with the first thing that is put there.

    Args:
        store: The store's folder.
        dry_run: Move and write nothing.
    """

    def __init__(self, store: Path, *, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self._store = store
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.folder = store / FOLDER / f"{now}-{secrets.token_hex(4)}"

    def note(self, why: str, **what: Any) -> None:
        """Write down durably what is about to be taken out or changed.

        Args:
            why: The reason.
            **what: What it is, JSON.

        Raises:
            StoreError: It cannot be written; nothing may be taken out then.
        """
        if self.dry_run:
            return
        line = json.dumps({"time": time.time(), "why": why, **what}, ensure_ascii=True) + "\n"
        try:
            self._make()
            with open(self.folder / RECORD, "a", encoding="ascii") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(error, f"write down in {self.folder} what is taken out") from error

    def take(self, path: Path, why: str) -> None:
        """Move a file, link or folder of the store here; none is fine.

        Args:
            path: Where it is.
            why: The reason.

        Raises:
            StoreError: It cannot be moved; it stays where it is then.
        """
        if self.dry_run or not os.path.lexists(path):
            return
        place = self.folder / path.relative_to(self._store)
        self.note(why, moved=str(path.relative_to(self._store)))
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            while os.path.lexists(place):
                place = place.with_name(f"{place.name}.{secrets.token_hex(4)}")
            os.rename(path, place)
        except FileNotFoundError:
            return
        except OSError as error:
            raise write_error(error, f"move {path} to {self.folder}") from error
        sync_folder(place.parent)
        sync_folder(path.parent)

    def _make(self) -> None:
        if self.folder.exists():
            return
        root = self.folder.parent
        root.mkdir(exist_ok=True)
        if not stat.S_ISDIR(os.lstat(root).st_mode):
            raise StoreFormatError(f"{root} is a link or not a folder; nothing is put there. Remove it.")
        self.folder.mkdir()
        sync_folder(root)
        sync_folder(self._store)


def size_of(store: Path) -> tuple[int, int]:
    """Return how many files a store's lost+found holds, and their bytes."""
    files = size = 0
    for folder, _, names in os.walk(store / FOLDER):
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            files, size = files + 1, size + status.st_size
    return files, size
