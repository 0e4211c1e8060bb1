"""Makes the database of an index: under a temporary name, so that it is there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from diskcache.core import DBNAME

from rcc_integrations.errors import ConfigError, StoreError
from rcc_integrations.memory.json_disk import SafeCache
from rcc_integrations.memory.json_value import JSON
from rcc_integrations.memory.os_errors import write_error
from rcc_integrations.memory.shards import TEMP_PREFIX, sync_folder
from rcc_integrations.memory.sqlite_errors import translated


def make_database(folder: Path, rows: Mapping[str, JSON] | None = None) -> None:
    """Make a database in the index folder, unless another process is first.

    Args:
        folder: The index folder; made too.
        rows: What stands in it; nothing if not given.

    Raises:
        StoreError: It cannot be made; nothing half-made stays under its name.
    """
    path = unexpanded(folder)
    temp = Path(path) / f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)
        try:
            fill_database(temp, rows or {})
            publish(temp / DBNAME, folder / DBNAME)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
        sync_folder(folder)
    except OSError as error:
        raise write_error(error, f"make the index in {folder}") from error


def fill_database(folder: Path, rows: Mapping[str, JSON]) -> None:
    """Make a new database in a folder of its own and close it: everything is in its one file then."""
    with translated(folder):
        cache = SafeCache(str(folder), timeout=60.0)
        try:
            with cache.transact():
                for key, value in rows.items():
                    cache.put(key, value)
            ((busy, *_),) = cache.sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            if busy:
                raise StoreError(f"The new index in {folder} cannot be folded into one file: try again.")
        finally:
            cache.close()
    with open(folder / DBNAME, "rb+") as file:
        os.fsync(file.fileno())


def publish(temp: Path, place: Path) -> None:
    """Give a file its name, unless another process was first; it may keep the old name too."""
    try:
        os.link(temp, place)
    except FileExistsError:
        return
    except (OSError, NotImplementedError):
        # A file system without hard links: the later of two processes wins, and the earlier is told.
        with contextlib.suppress(FileNotFoundError):
            os.replace(temp, place)


def unexpanded(folder: Path) -> str:
    """Return a folder's path as the index library takes it.

    Raises:
        ConfigError: The library would read something else in it.
    """
    path = str(folder)
    if os.path.expandvars(path) != path or os.path.expanduser(path) != path:
        raise ConfigError(
            f"The store's path {path!r} holds '$' or '~' with a meaning for the index library, which would open "
            f"{os.path.expandvars(os.path.expanduser(path))!r}: choose another path."
        )
    return path
