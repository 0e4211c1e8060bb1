"""diskcache made safe: JSON text only, no pickle, no side files, no settings from the folder.

diskcache falls back to pickle for keys and values it cannot store otherwise, unpickles whatever a row's `raw` and
`mode` columns tell it to, removes the file that a row's `filename` column names, and turns each row of its Settings
table into an attribute or a PRAGMA. None of that is taken from a folder here.

Every row carries a seal in diskcache's column for tags: a checksum over its key and its JSON text, as SQLite does not
notice a bit that changed within a value.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

import xxhash
from diskcache import Cache, Disk
from diskcache.core import DEFAULT_SETTINGS, ENOVAL, METADATA, MODE_RAW, UNKNOWN

from rcc_integrations.errors import ConfigError, CorruptBlobError, StoreError, StoreFormatError
from rcc_integrations.memory.json_value import JSON, dumps, loads

SETTINGS: Final[dict[str, int | str]] = {
    "statistics": 0,
    "tag_index": 0,
    "eviction_policy": "none",
    "size_limit": 2**62,
    "cull_limit": 0,
    "sqlite_auto_vacuum": 1,
    "sqlite_cache_size": 2**13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 0,
    "sqlite_synchronous": 2,
    "disk_min_file_size": 2**62,
    "disk_pickle_protocol": 0,
}
KNOWN_SETTINGS: Final = frozenset(SETTINGS) | frozenset(DEFAULT_SETTINGS) | frozenset(METADATA)

# The most bytes of one row: a text of some 40 million tokens has a record that long. What is longer is never loaded.
MAX_ROW: Final = 1 << 26

# Text of a row up to which anything may be in it, see `check_density`.
DENSE: Final = 1 << 20

# The columns that `decode_row` wants, in its order.
COLUMNS: Final = "key, raw, mode, filename, value, tag, expire_time"


class JSONOnlyDisk(Disk):  # type: ignore[misc]
    """Keys are strings and values JSON text inside SQLite; every other row is refused without looking inside."""

    def put(self, key: Any) -> tuple[str, bool]:
        """Return a key as it is."""
        if type(key) is not str:
            raise StoreFormatError(f"The index takes strings as keys, not {type(key).__name__}.")
        return key, True

    def get(self, key: Any, raw: Any) -> str:
        """Return a stored key; a pickled one is refused."""
        if raw != 1 or type(key) is not str:
            refuse("a key that is not plain text", key)
        return str(key)

    def store(self, value: Any, read: Any, key: Any = UNKNOWN) -> tuple[int, int, None, str]:
        """Return the row fields of a JSON value."""
        if read:
            raise StoreFormatError("The index takes JSON values, not open files.")
        text = dumps(value)
        try:
            check_density(text)
        except ValueError as error:
            raise ConfigError(f"A record cannot be stored: {error}. Keep less metadata with the document.") from None
        if 4 * len(text) > MAX_ROW and len(text.encode()) > MAX_ROW - (1 << 16):
            raise ConfigError(
                f"A record of {len(text):,} characters is too long for the index, which takes {MAX_ROW:,} bytes: cut "
                "the document into several, or keep less metadata with it."
            )
        return 0, MODE_RAW, None, text

    def fetch(self, mode: Any, filename: Any, value: Any, read: Any) -> JSON:
        """Return a stored value; a pickled one, and one in a side file, is refused."""
        if mode != MODE_RAW or filename is not None or type(value) is not str or read:
            refuse("a value that is not JSON text", value)
        try:
            value.encode()
            check_density(value)
            return loads(value)
        except ValueError:
            refuse("a value that is not JSON", value)

    def remove(self, file_path: Any) -> None:
        """Refuse: no row of ours has a side file, and a name planted in one could point anywhere."""
        if file_path is not None:
            refuse("a side file", file_path)


class SafeCache(Cache):  # type: ignore[misc]
    """A diskcache whose settings come from this module alone.

    Args:
        directory: Folder of the database.
        timeout: Seconds to wait for a lock.
    """

    def __init__(self, directory: str, timeout: float = 60.0) -> None:
        super().__init__(directory, timeout=timeout, disk=JSONOnlyDisk, **SETTINGS)

    @property
    def _con(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._con
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_ROW)
        connection.text_factory = decode_text
        return connection

    def reset(self, key: Any, value: Any = ENOVAL, update: Any = True) -> Any:
        """Set or reload a setting; the value for one of ours is always ours.

        Raises:
            StoreFormatError: The setting is unknown, or has been given another type.
        """
        if key not in KNOWN_SETTINGS:
            refuse("an unknown setting", key)
        if value is not ENOVAL:
            value = SETTINGS.get(key, value)
            if type(value) not in (int, str):
                refuse(f"a strange value of the setting {key}", value)
        return super().reset(key, value, update)

    def find(self, key: str) -> JSON:
        """Return the value of a key as the running transaction sees it; None where there is none."""
        values = [decode_row(self._disk, row)[1] for row in self._sql(SELECT, (key,)).fetchall()]
        return values[0] if values else None

    def sql(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement in the running transaction of this thread."""
        cursor: sqlite3.Cursor = self._sql(statement, values)
        return cursor

    def put(self, key: str, value: JSON) -> None:
        """Set the value of a key, sealed."""
        self.set(key, value, tag=seal_of(key, dumps(value)))

    def scan(self, prefix: str) -> list[tuple[str, JSON]]:
        """Return keys and values under a prefix in key order, as the running transaction of this thread sees them."""
        rows = self._sql(SCAN, (prefix, after(prefix))).fetchall()
        return [decode_row(self._disk, row) for row in rows]

    def erase(self, key: str) -> None:
        """Remove a row inside the running transaction; none is fine, one with a side file is refused."""
        if not self._sql(DELETE, (key,)).rowcount:
            self.delete(key)

    def everything(self) -> Iterator[Row]:
        """Give every row of the table, with what is wrong where one cannot be read."""
        yield from decode_all(self._disk, self._sql(EVERYTHING))

    def take_out(self, rowid: int) -> dict[str, JSON]:
        """Remove a row inside the running transaction, whatever its key; return all of it, bytes that are no text too.

        Raises:
            StoreFormatError: It has a side file, which no row of ours has.
        """
        row = self._sql(f"SELECT {COLUMNS} FROM Cache WHERE rowid = ?", (rowid,)).fetchone()
        if row is None:
            return {}
        if row[3] is not None:
            refuse("a side file", row[3])
        self._sql("DELETE FROM Cache WHERE rowid = ?", (rowid,))
        return dict(zip(COLUMNS.split(", "), map(shown, row), strict=True))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Stands for the value of a row that cannot be read.

    Args:
        reason: Why.
        foreign: Whether the row is of a kind that this package never writes, rather than damaged.
        text: Its value as it stands there.
    """

    reason: str
    foreign: bool
    text: JSON = None


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the index.

    Args:
        key: Its key; bytes that are no UTF-8 stand in it as surrogates.
        value: Its value, or what is wrong with it.
        rowid: SQLite's number of it; 0 where it is in no table.
    """

    key: str
    value: JSON | Unreadable
    rowid: int


EVERYTHING: Final = f"SELECT {COLUMNS}, rowid FROM Cache"
SCAN: Final = f"SELECT {COLUMNS} FROM Cache WHERE key >= ? AND key < ? ORDER BY key"
DELETE: Final = "DELETE FROM Cache WHERE key = ? AND filename IS NULL"
SELECT: Final = f"SELECT {COLUMNS} FROM Cache WHERE key = ?"


def after(prefix: str) -> str:
    """Return the first string that follows all strings with a prefix (its last character is ASCII)."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def decode_text(data: bytes) -> str:
    """Return a text of SQLite's; bytes that are no UTF-8 become surrogates, which no seal and no value of ours has."""
    return data.decode("utf-8", "surrogateescape")


def seal_of(key: str, text: str) -> str:
    """Return the seal of a row: XXH3-64 of its key and its JSON text, hexadecimal."""
    return xxhash.xxh3_64_hexdigest(f"{key}\0{text}".encode("utf-8", "surrogateescape"))


def decode_row(disk: JSONOnlyDisk, row: tuple[Any, ...], sealed: bool = True) -> tuple[str, JSON]:
    """Return key and value of a row of `COLUMNS`.

    Args:
        disk: Refuses what is not ours.
        row: The row.
        sealed: Whether it must have a seal; one that is there is checked in any case.

    Raises:
        StoreFormatError: The row is not one that this package wrote.
        CorruptBlobError: The row does not fit its seal.
    """
    key, raw, mode, filename, value, tag, expires = row
    if is_ours(row):
        if tag is None and sealed:
            refuse("a row without a checksum", key)
        if tag is not None and tag != seal_of(key, value):
            raise CorruptBlobError(
                f"The index's row {key[:80]!r} does not fit its checksum: it was damaged. Run `rcc verify --repair`."
            )
    elif expires is not None or tag is not None:
        refuse("a tag or an expiry", key)
    return disk.get(key, raw), disk.fetch(mode, filename, value, False)


def decode_all(disk: JSONOnlyDisk, rows: Iterable[tuple[Any, ...]], sealed: bool = True) -> Iterator[Row]:
    """Give rows of `COLUMNS` and their numbers, with what is wrong where one cannot be read."""
    for *row, rowid in rows:
        try:
            yield Row(*decode_row(disk, tuple(row), sealed), rowid)
        except StoreError as error:
            yield Row(str(row[0]), Unreadable(str(error), not is_ours(tuple(row)), shown(row[4])), rowid)


def shown(value: object) -> JSON:
    """Return a column's value as JSON can hold it: bytes that are no UTF-8 as escapes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return value if isinstance(value, int | float) else None if value is None else str(value)


def check_density(text: str) -> None:
    """Refuse JSON text that stands for far more memory than it has characters, before it is parsed.

    A list of empty lists takes twenty times its text. Records of ours have five numbers or names and one list for
    some ninety characters; up to a megabyte anything may be in them.

    Raises:
        ValueError: It is longer than a megabyte, and has a bracket for fewer than 24 or a comma for fewer than 10
            characters.
    """
    if len(text) <= DENSE:
        return
    brackets, commas = text.count("[") + text.count("{"), text.count(",")
    if 24 * brackets > len(text) or 10 * commas > len(text):
        raise ValueError(f"its {len(text):,} characters hold {brackets:,} brackets and {commas:,} commas")


def is_ours(row: tuple[Any, ...]) -> bool:
    """Tell whether a row of `COLUMNS` is of the kind that this package writes, whatever its value."""
    key, raw, mode, filename, value, tag, expires = row
    plain = type(key) is str and raw == 1 and mode == MODE_RAW and type(value) is str
    return plain and filename is None and expires is None and type(tag) in (str, type(None))


def refuse(what: str, value: object) -> NoReturn:
    """Raise the error for a row that this package did not write."""
    shown = repr(value)
    raise StoreFormatError(
        f"The store's index holds {what}: {shown[:80]}{'…' if len(shown) > 80 else ''}. This package does not write "
        "that; the folder was made or changed by something else, and is not used."
    )
