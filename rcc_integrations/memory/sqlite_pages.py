"""Reads rows out of the pages of an SQLite database that SQLite itself refuses, and out of its write-ahead log.

Follows the file format at https://www.sqlite.org/fileformat2.html. Only rows of diskcache's table whose seal fits are
given: nothing else on a page is trusted.
"""

from __future__ import annotations

import mmap
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import xxhash

#: More than this of a database is not read.
MOST: Final = 1 << 33
#: More than this of one row is not put together.
MOST_ROW: Final = 1 << 26

_LEAF = 13
_NATIVE = sys.byteorder
_SIZES = {2**power for power in range(9, 17)}
#: What the header of a record of ours looks like: NULL for the row's number, the key's type, then `raw`, `store_time`,
#: `expire_time`, `access_time`, `access_count`, the tag of 16 characters, `size`, `mode`, `filename`. The value's type
#: follows.
_HEADER = re.compile(
    rb"[\x0d-\x18]\x00(?:[\x0d-\x7f]|[\x81-\xff][\x00-\x7f]|[\x81-\xff][\x80-\xff][\x00-\x7f])"
    rb"[\x01\x09]\x07\x00[\x00\x07][\x00-\x06\x08\x09]\x2d[\x00-\x06\x08\x09][\x01\x09]\x00",
    re.DOTALL,
)


class Pages:
    """The pages of a database as the newest frames of its log have them.

    Args:
        database: The database's file; the log beside it is read too.
    """

    def __init__(self, database: Path) -> None:
        self._data = _read(database)
        size = int.from_bytes(self._data[16:18], "big")
        self.size = 65536 if size == 1 else size if size in _SIZES else 4096
        log = database.with_name(database.name + "-wal")
        self.frames = Log(_read(log) if log.is_file() and not log.is_symlink() else b"", self.size)

    def numbers(self) -> range:
        """Return the numbers of all pages."""
        return range(1, max([-(-len(self._data) // self.size), *self.frames.newest]) + 1)

    def page(self, number: int) -> bytes:
        """Return a page; what is missing of it is empty."""
        if number in self.frames.newest:
            return self.frames.newest[number]
        return bytes(self._data[(number - 1) * self.size : number * self.size])

    def rows(self) -> Iterator[tuple[str, str, bool]]:
        """Give key, JSON text and whether it was certainly in use, of every row that fits its seal.

        A row of which that is not certain was found on a page whose own structure is damaged: it may be an older
        version of one, or one that was removed.
        """
        for number in self.numbers():
            page = self.page(number)
            cells, whole = _cells(page, 100 if number == 1 else 0)
            for cell in cells:
                row = self._cell(page, cell)
                if row is not None:
                    yield *row, True
                else:
                    whole = False
            if not whole:
                for match in _HEADER.finditer(page):
                    row = self._record(page, match.start())
                    if row is not None:
                        yield *row, False

    def _cell(self, page: bytes, place: int) -> tuple[str, str] | None:
        """Return key and text of a cell of a table's leaf."""
        for _ in range(2):  # length of the payload, and number of the row
            _, place = _varint(page, place)
        return self._record(page, place)

    def _record(self, page: bytes, start: int) -> tuple[str, str] | None:
        """Return key and text of a record whose header begins here, if they fit their seal."""
        length, place = _varint(page, start)
        end = start + length
        if length < 13 or length > 32 or end > len(page):
            return None
        types = []
        while place < end:
            kind, place = _varint(page, place)
            types.append(kind)
        sizes = [_width(kind) for kind in types]
        if len(types) != 12 or place != end or None in sizes or any(kind % 2 == 0 for kind in (types[1], types[7])):
            return None
        widths = [width for width in sizes if width is not None]
        total = length + sum(widths)
        if total > MOST_ROW or types[1] < 13 or types[7] < 13 or types[11] < 13:
            return None
        payload = self._payload(page, start, total)
        if payload is None:
            return None
        fields, place = [], length
        for width in widths:
            fields.append(payload[place : place + width])
            place += width
        key, tag, value = fields[1], fields[7], fields[11]
        if xxhash.xxh3_64_hexdigest(key + b"\0" + value).encode() != tag:
            return None
        try:
            return key.decode(), value.decode()
        except UnicodeDecodeError:
            return None

    def _payload(self, page: bytes, start: int, total: int) -> bytes | None:
        """Put a payload together from its page and the pages that it overflows to."""
        local = total
        if total > self.size - 35:
            least = (self.size - 12) * 32 // 255 - 23
            local = least + (total - least) % (self.size - 4)
            local = local if local <= self.size - 35 else least
        parts = [page[start : start + local]]
        missing = total - len(parts[0])
        if len(parts[0]) < local:
            return None
        number = int.from_bytes(page[start + local : start + local + 4], "big") if missing else 0
        while missing > 0:
            if number not in self.numbers():
                return None
            following = self.page(number)
            part = following[4 : 4 + missing]
            if len(part) < min(missing, self.size - 4):
                return None
            number = int.from_bytes(following[:4], "big")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


class Log:
    """The frames of a write-ahead log.

    Args:
        data: The log.
        size: Bytes of a page.
    """

    def __init__(self, data: bytes | mmap.mmap, size: int) -> None:
        #: The newest content of every page that the log has, by number.
        self.newest: dict[int, bytes] = {}
        #: Frames behind the last one that SQLite takes, though they were written by the same log: changes that it
        #: forgets because something before them is damaged.
        self.forgotten = 0
        if len(data) < 32 or data[:3] != b"\x37\x7f\x06" or int.from_bytes(data[8:12], "big") != size:
            return
        order: str = "big" if data[3] & 1 else "little"
        salts, state = data[16:24], _checksum(data[:24], (0, 0), order)
        sound = state == _pair(data[24:32])
        waiting: dict[int, bytes] = {}
        held = 0
        for place in range(32, len(data) - 23 - size, 24 + size):
            head, page = data[place : place + 24], data[place + 24 : place + 24 + size]
            if head[8:16] != salts:
                break
            if sound:
                state = _checksum(page, _checksum(head[:8], state, order), order)
                sound = state == _pair(head[16:24])
            waiting[int.from_bytes(head[:4], "big")] = page
            held += not sound
            if int.from_bytes(head[4:8], "big"):
                # The end of a transaction. Behind a damaged frame, rows still prove themselves one by one.
                self.newest |= waiting
                self.forgotten += held
                waiting, held = {}, 0


def _checksum(data: bytes, state: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = state
    little = order == "little"
    words = memoryview(data).cast("I") if little == (_NATIVE == "little") else None
    numbers = (
        words
        if words is not None
        else [int.from_bytes(data[at : at + 4], "little" if little else "big") for at in range(0, len(data), 4)]
    )
    for at in range(0, len(numbers), 2):
        first = (first + numbers[at] + second) & 0xFFFFFFFF
        second = (second + numbers[at + 1] + first) & 0xFFFFFFFF
    return first, second


def _pair(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")


def _cells(page: bytes, start: int) -> tuple[list[int], bool]:
    """Return where the cells of a table's leaf begin, and whether the page's own structure is whole."""
    kind = page[start] if len(page) > start else 0
    if kind in (2, 5, 10):
        return [], True
    if kind != _LEAF:
        # Overflow pages, maps and free pages have no header; so has a leaf of which the first byte is damaged.
        return [], False
    number = int.from_bytes(page[start + 3 : start + 5], "big")
    pointers = [int.from_bytes(page[start + 8 + 2 * at : start + 10 + 2 * at], "big") for at in range(number)]
    first = start + 8 + 2 * number
    good = [place for place in pointers if first <= place < len(page) - 4]
    return good, len(good) == number


def _varint(page: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count in range(9):
        byte = page[place] if place < len(page) else 0
        place += 1
        if count == 8:
            return value << 8 | byte, place
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    return value, place


def _width(kind: int) -> int | None:
    """Return the bytes of a value of a serial type; None where there is no such type."""
    if kind >= 12:
        return (kind - 12) // 2
    return {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}.get(kind)


def _read(path: Path) -> bytes | mmap.mmap:
    with open(path, "rb") as file:
        size = min(os.fstat(file.fileno()).st_size, MOST)
        return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) if size else b""
