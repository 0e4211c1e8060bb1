"""Seals of an index: given to rows that have none yet, and used to put right rows in which a bit changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import xxhash
from diskcache.core import MODE_RAW

from rcc_integrations.errors import StoreError
from rcc_integrations.memory.json_disk import COLUMNS, SafeCache, decode_row, is_ours, seal_of, shown
from rcc_integrations.memory.json_value import JSON

# Trying every bit takes time that grows with the square of the length: some seconds for a row as long as this.
MOST_BYTES: Final = 1 << 16


def seal(cache: SafeCache) -> None:
    """Give every row its seal that has none, inside a transaction; rows that are not ours stay without."""
    for (rowid,) in cache.sql("SELECT rowid FROM Cache WHERE tag IS NULL").fetchall():
        (row,) = cache.sql(f"SELECT {COLUMNS} FROM Cache WHERE rowid = ?", rowid).fetchall()
        if is_ours(row):
            cache.sql("UPDATE Cache SET tag = ? WHERE rowid = ?", seal_of(row[0], row[4]), rowid)


@dataclass(frozen=True, slots=True)
class Mended:
    """A row that was put right.

    Args:
        key: Its key.
        before: Its columns as they were.
    """

    key: str
    before: dict[str, JSON]


def mend(cache: SafeCache) -> list[Mended]:
    """Put right, inside a transaction, what a seal tells how to; return the keys of rows that were changed.

    That is a row of which one bit changed, one whose value and key are whole beside another column that is not, and
    SQLite's own index of the keys.
    """
    if cache.sql("PRAGMA integrity_check(1)").fetchall() != [("ok",)]:
        cache.sql("REINDEX")
    found: dict[int, tuple[str, ...]] = {}
    before: list[dict[str, JSON]] = []
    for rowid, *row in cache.sql(f"SELECT rowid, {COLUMNS} FROM Cache"):
        try:
            decode_row(cache.disk, tuple(row))
        except StoreError:
            whole = _whole(*row)
            if whole is not None:
                found[rowid] = whole
                before.append(dict(zip(COLUMNS.split(", "), map(shown, row), strict=True)))
    for rowid, (key, value, tag) in found.items():
        cache.sql(
            "UPDATE Cache SET key = ?, raw = 1, mode = ?, filename = NULL, value = ?, tag = ?, expire_time = NULL"
            " WHERE rowid = ?",
            *(key, MODE_RAW, value, tag, rowid),
        )
    return [Mended(key, old) for (key, _, _), old in zip(found.values(), before, strict=True)]


def _whole(key: Any, raw: Any, mode: Any, filename: Any, value: Any, tag: Any, expires: Any) -> tuple[str, ...] | None:
    """Return key, value and seal of a row as they were, if that can be told."""
    # The bit that makes a text a blob stands apart from its bytes.
    parts = [part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape") for part in (key, value)]
    sign = tag.decode("utf-8", "surrogateescape") if isinstance(tag, bytes) else str(tag)
    data = bytearray(b"\0".join(parts))
    right = xxhash.xxh3_64_hexdigest(data)
    if len(sign) == len(right) and _bits_apart(sign, right) <= 1:
        return _taken_apart(data, right)
    if len(data) <= MOST_BYTES:
        for place in range(8 * len(data)):
            data[place // 8] ^= 1 << place % 8
            if xxhash.xxh3_64_hexdigest(data) == sign:
                return _taken_apart(data, sign)
            data[place // 8] ^= 1 << place % 8
    return None


def _bits_apart(one: str, other: str) -> int:
    return sum((ord(a) ^ ord(b)).bit_count() for a, b in zip(one, other, strict=True))


def _taken_apart(data: bytearray, sign: str) -> tuple[str, ...]:
    key, _, value = data.decode().partition("\0")
    return key, value, sign
