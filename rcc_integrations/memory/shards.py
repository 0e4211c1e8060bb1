"""A folder of files named by their key, `ab/ab12….suffix`, written atomically and never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rcc_integrations.errors import CorruptBlobError, StoreFormatError
from rcc_integrations.memory.names import check_key, is_key
from rcc_integrations.memory.os_errors import access_error, write_error

TEMP_PREFIX = ".writing-"

# Flags that a platform lacks do nothing there; lstat is asked first on every platform.
_SAFE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class ShardFolder:
    """Files by key under one folder.

    Args:
        root: The folder; made by the first write.
        suffix: Ending of the file names, with its dot.
    """

    def __init__(self, root: Path, suffix: str) -> None:
        self.root = root
        self.suffix = suffix

    def path(self, key: str) -> Path:
        """Return where the file of a key is or would be.

        Raises:
            InvalidNameError: The key is not 64 lower-case hexadecimal digits.
        """
        return self.root / check_key(key)[:2] / (key + self.suffix)

    def size(self, key: str) -> int | None:
        """Return the bytes of a key's file; None where there is none, or no plain file inside the folder."""
        path = self.path(key)
        if not (_is_folder(self.root) and _is_folder(path.parent)):
            return None
        status = _lstat(path)
        return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None

    def open(self, key: str) -> int:
        """Return a file descriptor for reading a key's file; the caller closes it.

        Raises:
            FileNotFoundError: There is no such file.
            CorruptBlobError: It is no plain file inside the folder, but a link, a pipe, ….
            StoreAccessError: It cannot be opened. Only a file that is not there is absent, and only one that was read
                can be damaged.
        """
        path = self.path(key)
        for folder in (self.root, path.parent):
            status = _lstat(folder)
            if status is None:
                raise FileNotFoundError(path)
            if not stat.S_ISDIR(status.st_mode):
                raise CorruptBlobError(f"{folder} is not a plain folder and is not followed. Remove it and verify.")
        status = _lstat(path)
        if status is None:
            raise FileNotFoundError(path)
        if not stat.S_ISREG(status.st_mode):
            raise CorruptBlobError(f"{path} is not a plain file and is not read. Remove it and verify the store.")
        try:
            descriptor = os.open(path, os.O_RDONLY | _SAFE)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise CorruptBlobError(f"{path} is a link and is not followed.") from error
            raise access_error(error, path) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise CorruptBlobError(f"{path} is not a plain file and is not read.")
        return descriptor

    def read(self, key: str, most: int | None = None) -> bytes:
        """Return the bytes of a key's file; raises as `open` does.

        Args:
            key: The key.
            most: A file of more bytes is refused: it can claim to be larger than the disk that it lies on.
        """
        with os.fdopen(self.open(key), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if most is not None and size > most:
                raise CorruptBlobError(f"{self.path(key)} has {size:,} bytes, more than {most:,}, and is not read.")
            try:
                return file.read()
            except OSError as error:
                raise access_error(error, self.path(key)) from error

    def write_temp(self, key: str, data: bytes) -> Path:
        """Write data durably under a temporary name next to a key's place, to be moved there by `place`.

        Raises:
            StoreFullError: The disk is full; nothing stays behind.
            StoreReadOnlyError: The folder may not be written.
            StoreFormatError: A part of the way to it is a link or not a folder.
        """
        folder = self.path(key).parent
        temp = folder / f"{TEMP_PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        try:
            self._make(folder)
            descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o666)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                self.discard(temp)
                raise
        except OSError as error:
            raise write_error(error, f"write {len(data):,} bytes under {self.root}") from error
        return temp

    def place(self, temp: Path, key: str) -> None:
        """Move a temporary file to its key's place, in one step; `sync` makes it durable.

        Raises:
            StoreError: It cannot be moved, or another process removed it meanwhile.
        """
        try:
            os.replace(temp, self.path(key))
        except OSError as error:
            self.discard(temp)
            raise write_error(error, f"move {temp} into place") from error

    def sync(self, keys: Iterable[str]) -> None:
        """Make the names of these keys' files durable."""
        for folder in sorted({self.path(key).parent for key in keys}):
            sync_folder(folder)

    def remove(self, key: str) -> None:
        """Remove a key's file (or the link in its place); none is fine.

        Raises:
            StoreError: It cannot be removed.
        """
        path = self.path(key)
        if not (_is_folder(self.root) and _is_folder(path.parent)):
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(error, f"remove {path}") from error

    @staticmethod
    def discard(temp: Path) -> None:
        """Remove a temporary file if it is still there."""
        with contextlib.suppress(OSError):
            temp.unlink()

    def files(self, on_error: Callable[[Path, OSError], None] | None = None) -> Iterator[tuple[Path, str | None]]:
        """Give every entry under the folder, sorted: its path and its key, None for what has no business there.

        Links and other special files come with None as well, and are not followed.

        Args:
            on_error: Told of a folder that cannot be listed; the others are gone on with. Without it, that is raised.

        Raises:
            StoreAccessError: A folder cannot be listed.
        """
        if not _is_folder(self.root):
            if _lstat(self.root) is not None:
                yield self.root, None
            return
        for shard in _entries(self.root, on_error):
            if not shard.is_dir(follow_symlinks=False):
                yield Path(shard.path), None
                continue
            for entry in _entries(Path(shard.path), on_error):
                key = entry.name.removesuffix(self.suffix)
                good = is_key(key) and key[:2] == shard.name and entry.name == key + self.suffix
                yield Path(entry.path), key if good and entry.is_file(follow_symlinks=False) else None

    def _make(self, folder: Path) -> None:
        for part in (self.root, folder):
            try:
                part.mkdir()
            except FileExistsError:
                if not _is_folder(part):
                    raise StoreFormatError(
                        f"{part} is a link or not a folder, and the store does not write through it: remove it, or "
                        "move the whole store to where there is room."
                    ) from None
            else:
                sync_folder(part.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the platform can."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; the files in it are safe all the same.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise write_error(error, f"make {folder} durable") from error


def _entries(folder: Path, on_error: Callable[[Path, OSError], None] | None) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        if on_error is None:
            raise access_error(error, folder) from error
        on_error(folder, error)
        return []


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise access_error(error, path) from error


def _is_folder(path: Path) -> bool:
    status = _lstat(path)
    return status is not None and stat.S_ISDIR(status.st_mode)
