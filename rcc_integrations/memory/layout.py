"""The store's folder: what makes it one, and how it comes to be."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import xxhash
from diskcache.core import DBNAME

from rcc_integrations.errors import StoreError, StoreFormatError
from rcc_integrations.memory.json_value import loads
from rcc_integrations.memory.os_errors import write_error
from rcc_integrations.memory.shards import TEMP_PREFIX, ShardFolder, sync_folder

FORMAT: Final = "rcc-memory-store"
VERSION: Final = 3
# Version 1 lacks the seals of the index's rows, version 2 the fingerprints in the rows of memories.
READABLE: Final = (1, 2, VERSION)
SEALED: Final = 2
MARKER: Final = "store.json"

_MAX_MARKER = 1 << 16
_TWO_PAGES = 2 * 4096
_ADVICE = "If this was a store, `rcc verify --repair` makes the marker anew."


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a store lie.

    Args:
        path: The store's folder, absolute.
        id: The store's random id.
        version: Its format version.
    """

    path: Path
    id: str
    version: int

    @property
    def index(self) -> Path:
        """The index folder."""
        return self.path / "index"

    @property
    def blobs(self) -> Path:
        """The folder of memory tensors."""
        return self.path / "blobs"

    @property
    def texts(self) -> Path:
        """The folder of texts."""
        return self.path / "texts"

    def is_writable(self) -> bool:
        """Tell whether this process may write the folder and what is in it."""
        parts = [self.path, *(part for part in (self.index, self.blobs, self.texts) if part.exists())]
        return all(os.access(part, os.W_OK | os.X_OK) for part in parts)

    def check_index(self) -> None:
        """Refuse a store that has memories or texts but no index of them.

        Raises:
            StoreFormatError: The index is gone; making a new one would make everything else rubbish.
        """
        if os.path.lexists(self.index / DBNAME):
            return
        part = self.first_part()
        if part is not None:
            raise StoreFormatError(
                f"{self.path} holds {part.name} but its index is gone: `rcc verify --repair` brings it back from its "
                "backup. Where there is none, restore the folder 'index' from a copy, or start a new store elsewhere "
                "and add the documents again."
            )

    def first_part(self) -> Path | None:
        """Return the first of the folders of memories and texts that holds a file; None where both are empty."""
        for part in (self.blobs, self.texts):
            # Two levels down, so that the empty folders of a removed document do not count.
            found = (path for path, _ in ShardFolder(part, "").files() if path.parent.parent == part)
            if any(not path.name.startswith(TEMP_PREFIX) for path in found):
                return part
        return None

    def clear_unfinished(self) -> None:
        """Remove the beginning of an index that was never finished, as versions before could leave it.

        That is a database without a table, in a store without memories and texts: there is nothing in it.
        """
        database = self.index / DBNAME
        try:
            status = os.lstat(database)
        except FileNotFoundError:
            return
        # Two pages have no room for a table; the log beside them may have.
        log = self.index / f"{DBNAME}-wal"
        if not stat.S_ISREG(status.st_mode) or status.st_size > _TWO_PAGES or (log.exists() and log.stat().st_size):
            return
        if self.first_part() is None:
            for name in (f"{DBNAME}-journal", f"{DBNAME}-shm", f"{DBNAME}-wal", DBNAME):
                (self.index / name).unlink(missing_ok=True)


def open_layout(path: Path, *, create: bool) -> Layout:
    """Find a store, or make an empty one.

    Args:
        path: The store's folder.
        create: Whether to make one where there is nothing or an empty folder.

    Raises:
        StoreError: There is no store and none is to be made, or it cannot be made.
        StoreFormatError: The folder is something else, or of a format that this version does not read.
    """
    path = Path(os.path.abspath(path))
    if path.exists() and not path.is_dir():
        raise StoreFormatError(f"{path} is a file; a store is a folder. Choose another path.")
    if not os.path.lexists(path / MARKER):
        others = [name for name in _names(path) if not name.startswith(TEMP_PREFIX)]
        # Another process may have made the store between the two looks.
        if MARKER not in others:
            if others:
                raise StoreFormatError(
                    f"{path} is not a memory store (it has no {MARKER}) and not empty: it holds {sorted(others)[0]!r}. "
                    f"Choose another path; nothing was written. {_ADVICE}"
                )
            if not create:
                raise StoreError(f"There is no memory store in {path}: check the path, or create one by adding to it.")
            _create(path)
    return Layout(path, *read_marker(path / MARKER))


def mark_upgraded(layout: Layout) -> Layout:
    """Give a store the newest version, after everything in it has been brought to that.

    Raises:
        StoreError: Its marker cannot be written.
    """
    write_marker(layout.path, layout.id, VERSION, os.replace)
    return replace(layout, version=VERSION)


def _names(path: Path) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"The store's folder {path} cannot be read: {error.strerror}.") from error


def _create(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(error, f"make a store in {path}") from error
    write_marker(path, secrets.token_hex(16), VERSION, _publish)


def write_marker(path: Path, identity: str, version: int, publish: Callable[[Path, Path], None] = os.replace) -> None:
    """Write the marker of a store, durably.

    Args:
        path: The store's folder.
        identity: Its id.
        version: Its format version.
        publish: Gives the file its name.

    Raises:
        StoreError: It cannot be written.
    """
    seal = _seal(version, identity)
    marker = json.dumps({"format": FORMAT, "version": version, "id": identity, "seal": seal}, indent=2) + "\n"
    temp = path / f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
    try:
        try:
            with open(temp, "x", encoding="utf-8") as file:
                file.write(marker)
                file.flush()
                os.fsync(file.fileno())
            publish(temp, path / MARKER)
        finally:
            with contextlib.suppress(OSError):
                temp.unlink()
        sync_folder(path)
    except OSError as error:
        raise write_error(error, f"write {path / MARKER}") from error


def _publish(temp: Path, marker: Path) -> None:
    """Give the marker its name, unless another process was first."""
    try:
        os.link(temp, marker)
    except FileExistsError:
        return
    except (OSError, NotImplementedError):
        # A file system without hard links: the later of two processes wins, and both go on with its marker.
        os.replace(temp, marker)


def _seal(version: int, identity: str) -> str:
    return xxhash.xxh3_64_hexdigest(f"{FORMAT}\0{version}\0{identity}".encode("utf-8", "surrogatepass"))


def read_marker(path: Path) -> tuple[str, int]:
    """Return the id and the version that a marker tells.

    Raises:
        StoreError: It cannot be read.
        StoreFormatError: It is damaged, something else, or of a format that this version does not read.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise StoreFormatError(f"{path} is a link or not a plain file: this is no memory store.")
        with open(path, encoding="utf-8") as file:
            value = loads(file.read(_MAX_MARKER))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise StoreFormatError(f"{path} is not the marker of a memory store: {error}. {_ADVICE}") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise StoreFormatError(f"{path} is not the marker of a memory store: its format is not {FORMAT!r}. {_ADVICE}")
    version, identity = value.get("version"), value.get("id")
    if type(version) is not int or type(identity) is not str:
        raise StoreFormatError(
            f"{path} is damaged: it needs a whole number as 'version' and a string as 'id'. {_ADVICE}"
        )
    if value.get("seal", _seal(version, identity)) != _seal(version, identity):
        raise StoreFormatError(f"{path} is damaged: it does not fit its checksum. {_ADVICE}")
    if version not in READABLE:
        raise StoreFormatError(
            f"The store in {path.parent} has format version {version}; this version of rcc-integrations reads versions "
            f"{READABLE[0]} to {VERSION}. {'Update rcc-integrations.' if version > VERSION else 'Make a new store.'}"
        )
    return identity, version
