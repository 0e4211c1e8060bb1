"""The store's index: JSON rows in a diskcache, with consistent reads and all-or-nothing writes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from diskcache import Timeout
from diskcache.core import DBNAME

from rcc_integrations.errors import CorruptBlobError, StoreError, StoreFormatError, StoreReadOnlyError
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.memory import sealing
from rcc_integrations.memory.database_guard import check_folder, check_schema
from rcc_integrations.memory.index_file import make_database, unexpanded
from rcc_integrations.memory.json_disk import (
    EVERYTHING,
    MAX_ROW,
    SCAN,
    SELECT,
    JSONOnlyDisk,
    Row,
    SafeCache,
    after,
    decode_all,
    decode_row,
    decode_text,
)
from rcc_integrations.memory.json_value import JSON
from rcc_integrations.memory.os_errors import access
from rcc_integrations.memory.sqlite_errors import REPAIR, store_error, translated

LOCK_SECONDS: Final = 60.0
PATIENCE_SECONDS: Final = 600.0

#: The row that counts the transactions that changed something: of an index and a copy of it, it tells the later.
CHANGES: Final = "changes"


class Rows(Protocol):
    """What a read and a write transaction have in common."""

    def get(self, key: str) -> JSON:
        """Return the value of a key; None where there is none."""

    def scan(self, prefix: str) -> list[tuple[str, JSON]]:
        """Return keys and values under a prefix, in key order."""

    def everything(self) -> Iterator[Row]:
        """Give every row, with what is wrong where one cannot be read."""


class Index:
    """The index of one store; many threads and processes may use it at once.

    Args:
        folder: The index folder.
        read_only: Open for reading alone; nothing is created or changed.
        sealed: Whether every row must have its seal; see `json_disk`. An index of format version 1 has none
            until `WriteTransaction.seal` gives them.

    Raises:
        StoreFormatError: The folder holds something that this package did not write.
        StoreReadOnlyError: There is nothing to read, or not without a write.
    """

    def __init__(self, folder: Path, *, read_only: bool = False, sealed: bool = True) -> None:
        self.folder = folder
        self.read_only = read_only
        self.sealed = sealed
        self._closed = False
        self._lock = ForkSafeLock()
        self._idle: list[sqlite3.Connection] = []
        self._forked: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        self._disk = JSONOnlyDisk(str(folder))
        self._cache: SafeCache | None = None
        #: Whether this object has changed anything.
        self.changed = False
        self._open()

    def _open(self) -> None:
        with access(self.folder):
            exists = check_folder(self.folder)
        if not exists and self.read_only:
            raise StoreReadOnlyError(
                f"There is no index in {self.folder}: nothing was ever added, or making the store was interrupted. "
                "Adding something makes it."
            )
        with translated(self.folder), access(self.folder):
            if not exists:
                make_database(self.folder)
            connection = self._connect()
            self._idle.append(connection)
            if "Cache" not in check_schema(connection):
                raise StoreFormatError(f"The index in {self.folder} is not whole: it has no table. {REPAIR}")
            if not self.read_only:
                self._cache = SafeCache(unexpanded(self.folder), timeout=LOCK_SECONDS)
        self._identity = self._identify()

    def reopen(self) -> None:
        """Open the index again after its file was replaced."""
        self.close()
        self._closed = False
        self._open()

    @contextlib.contextmanager
    def read(self) -> Iterator[ReadTransaction]:
        """Give a view of one instant: what others write meanwhile is not seen."""
        connection = self._borrow()
        try:
            with translated(self.folder):
                connection.execute("BEGIN")
                yield ReadTransaction(connection, self._disk, self.sealed)
        finally:
            self._give_back(connection)

    @contextlib.contextmanager
    def write(self) -> Iterator[WriteTransaction]:
        """Give the only write transaction of the moment; it takes effect as a whole, durably, or not at all.

        Raises:
            StoreReadOnlyError: The index is open for reading.
            StoreError: Another process held the lock for ten minutes.
        """
        cache = self._writable()
        with translated(self.folder):
            try:
                with contextlib.ExitStack() as stack:
                    self._begin(cache, stack)
                    # Another process may have put another file in its place while this one waited.
                    self._check_open()
                    transaction = WriteTransaction(cache)
                    yield transaction
                    if transaction.changed:
                        transaction.set(CHANGES, changes_in(transaction) + 1)
                self.changed = self.changed or transaction.changed
            except (sqlite3.Error, Timeout, UnicodeDecodeError):
                # SQLite may have ended the transaction on its own, or left it open: a new connection is clean.
                cache.close()
                raise

    def size(self) -> int:
        """Return the bytes of the database and its side files."""
        with access(self.folder), os.scandir(self.folder) as entries:
            return sum(entry.stat().st_size for entry in entries if entry.name.startswith(DBNAME))

    def copy_to(self, path: Path) -> None:
        """Write a copy of the index as it is at one instant to a new file, durably.

        Every row is read for it: what cannot be read makes the copy fail.

        Raises:
            StoreError: It cannot be read, or the copy not be written.
        """
        with translated(self.folder), access(path):
            connection = self._connect()
            try:
                connection.execute("PRAGMA query_only = OFF")
                connection.execute("VACUUM INTO ?", (str(path),))
            finally:
                connection.close()
            with open(path, "rb+") as file:
                os.fsync(file.fileno())

    def close(self) -> None:
        """Close all connections that are not in use; later calls raise StoreError."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        if self._cache is not None:
            self._cache.close()

    def _writable(self) -> SafeCache:
        self._check_open()
        if self._cache is None:
            raise StoreReadOnlyError(
                f"The store of {self.folder} is open for reading only, by request or because its folder cannot be "
                "written: open it with write access to change it."
            )
        return self._cache

    def _begin(self, cache: SafeCache, stack: contextlib.ExitStack) -> None:
        # transact(retry=True) would try for ever, also on a disk that cannot be written.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                stack.enter_context(cache.transact(retry=False))
                return
            except Timeout as error:
                reason = str(error.__context__)
                if ("locked" not in reason and "busy" not in reason) or time.monotonic() > deadline:
                    raise store_error(error, self.folder) from error

    def _borrow(self) -> sqlite3.Connection:
        self._check_open()
        with self._lock:
            if self._pid != os.getpid():
                # A connection must not be used, nor closed, in the child of a fork.
                self._forked, self._idle, self._pid = [*self._forked, *self._idle], [], os.getpid()
            if self._idle:
                return self._idle.pop()
        with translated(self.folder):
            return self._connect()

    def _give_back(self, connection: sqlite3.Connection) -> None:
        try:
            if connection.in_transaction:
                connection.rollback()
        except sqlite3.Error:
            connection.close()
            return
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"The store of {self.folder} is closed: open it again.")
        # SQLite goes on writing to a file that has lost its name: what it takes then is gone with the last connection.
        if self._identity is None or self._identify() != self._identity:
            raise StoreError(
                f"The index in {self.folder} was removed or replaced by another while the store was open: see that the "
                "folder is there, and open the store again."
            )

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.folder / DBNAME)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _connect(self) -> sqlite3.Connection:
        """Return a connection that cannot write."""
        path = self.folder / DBNAME
        try:
            return _open(path, "mode=ro")
        except sqlite3.OperationalError as error:
            if self.folder_is_writable() or not self.read_only:
                raise
            # Without write access SQLite cannot make the file through which readers and writers see each other.
            log = self.folder / f"{DBNAME}-wal"
            if log.exists() and log.stat().st_size:
                raise StoreReadOnlyError(
                    f"{self.folder} cannot be written and holds changes that are not folded into the database yet "
                    f"({log.name}): open and close the store once with write access, then copy it."
                ) from error
            return _open(path, "immutable=1")

    def folder_is_writable(self) -> bool:
        """Tell whether this process may write the index."""
        path = self.folder / DBNAME
        return os.access(self.folder, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


class ReadTransaction:
    """Rows as they were at one instant."""

    def __init__(self, connection: sqlite3.Connection, disk: JSONOnlyDisk, sealed: bool) -> None:
        self._connection = connection
        self._disk = disk
        self._sealed = sealed

    def get(self, key: str) -> JSON:
        """Return the value of a key; None where there is none."""
        rows = self._connection.execute(SELECT, (key,)).fetchall()
        values = [decode_row(self._disk, row, self._sealed)[1] for row in rows]
        return values[0] if values else None

    def scan(self, prefix: str) -> list[tuple[str, JSON]]:
        """Return keys and values under a prefix, in key order."""
        rows = self._connection.execute(SCAN, (prefix, after(prefix)))
        return [decode_row(self._disk, row, self._sealed) for row in rows]

    def everything(self) -> Iterator[Row]:
        """Give every row, with what is wrong where one cannot be read."""
        yield from decode_all(self._disk, self._connection.execute(EVERYTHING), self._sealed)

    def count(self, prefix: str) -> int:
        """Return the number of keys under a prefix."""
        query = "SELECT COUNT(*) FROM Cache WHERE key >= ? AND key < ?"
        ((number,),) = self._connection.execute(query, (prefix, after(prefix))).fetchall()
        return int(number)

    def check(self) -> list[str]:
        """Return what SQLite's own integrity check finds wrong."""
        return [str(row[0]) for row in self._connection.execute("PRAGMA integrity_check") if row[0] != "ok"]


class WriteTransaction:
    """Rows that can be changed; sees its own changes."""

    def __init__(self, cache: SafeCache) -> None:
        self._cache = cache
        self.changed = False

    def get(self, key: str) -> JSON:
        """Return the value of a key; None where there is none."""
        return self._cache.find(key)

    def scan(self, prefix: str) -> list[tuple[str, JSON]]:
        """Return keys and values under a prefix, in key order."""
        return self._cache.scan(prefix)

    def everything(self) -> Iterator[Row]:
        """Give every row, with what is wrong where one cannot be read."""
        yield from self._cache.everything()

    def set(self, key: str, value: JSON) -> None:
        """Set the value of a key."""
        self.changed = True
        self._cache.put(key, value)

    def delete(self, key: str) -> None:
        """Remove a key; none is fine."""
        self.changed = True
        self._cache.erase(key)

    def take_out(self, rowid: int) -> dict[str, JSON]:
        """Remove a row by its number, whatever its key; return all of it."""
        self.changed = True
        return self._cache.take_out(rowid)

    def check(self) -> list[str]:
        """Return what SQLite's own integrity check finds wrong."""
        return [str(row[0]) for row in self._cache.sql("PRAGMA integrity_check").fetchall() if row[0] != "ok"]

    def seal(self) -> None:
        """Give every row its seal that has none; see `sealing.seal`."""
        sealing.seal(self._cache)

    def mend(self) -> list[sealing.Mended]:
        """Put right what the rows' seals tell how to; see `sealing.mend`."""
        mended = sealing.mend(self._cache)
        self.changed = self.changed or bool(mended)
        return mended


def changes_in(rows: Rows) -> int:
    """Return how many transactions have changed something; 0 where that is not counted or cannot be read."""
    try:
        number = rows.get(CHANGES)
    except (CorruptBlobError, StoreFormatError):
        return 0
    return number if type(number) is int and number >= 0 else 0


def _open(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?{how}", uri=True, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = decode_text
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection
