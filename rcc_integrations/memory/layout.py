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

from rcc_integrations.errors import StoreError, StoreFormatError
from rcc_integrations.memory.json_value import loads
from rcc_integrations.memory.shards import TEMP_PREFIX, ShardFolder, sync_folder, write_error

FORMAT: Final = "rcc-memory-store"
VERSION: Final = 2
# Version 1 is the same but for the seals of the index's rows.
READABLE: Final = (1, VERSION)
MARKER: Final = "store.json"

_MAX_MARKER = 1 << 16


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
        if (self.index / "cache.db").exists():
            return
        for part in (self.blobs, self.texts):
            # Two levels down, so that the empty folders of a removed document do not count.
            found = (path for path, _ in ShardFolder(part, "").files() if path.parent.parent == part)
            if any(not path.name.startswith(TEMP_PREFIX) for path in found):
                raise StoreFormatError(
                    f"{self.path} holds {part.name} but its index is gone: restore the folder 'index' from a copy, or "
                    "start a new store elsewhere and add the documents again."
                )


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
                    "Choose another path; nothing was written."
                )
            if not create:
                raise StoreError(f"There is no memory store in {path}: check the path, or create one by adding to it.")
            _create(path)
    return Layout(path, *_read_marker(path / MARKER))


def mark_upgraded(layout: Layout) -> Layout:
    """Give a store the newest version, after everything in it has been brought to that.

    Raises:
        StoreError: Its marker cannot be written.
    """
    _write_marker(layout.path, layout.id, os.replace)
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
    _write_marker(path, secrets.token_hex(16), _publish)


def _write_marker(path: Path, identity: str, publish: Callable[[Path, Path], None]) -> None:
    marker = json.dumps({"format": FORMAT, "version": VERSION, "id": identity}, indent=2) + "\n"
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


def _read_marker(path: Path) -> tuple[str, int]:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise StoreFormatError(f"{path} is a link or not a plain file: this is no memory store.")
        with open(path, encoding="utf-8") as file:
            value = loads(file.read(_MAX_MARKER))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise StoreFormatError(f"{path} is not the marker of a memory store: {error}.") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise StoreFormatError(f"{path} is not the marker of a memory store: its format is not {FORMAT!r}.")
    version, identity = value.get("version"), value.get("id")
    if type(version) is not int or type(identity) is not str:
        raise StoreFormatError(f"{path} is damaged: it needs a whole number as 'version' and a string as 'id'.")
    if version not in READABLE:
        raise StoreFormatError(
            f"The store in {path.parent} has format version {version}; this version of rcc-integrations reads versions "
            f"{READABLE[0]} to {VERSION}. {'Update rcc-integrations.' if version > VERSION else 'Make a new store.'}"
        )
    return identity, version
