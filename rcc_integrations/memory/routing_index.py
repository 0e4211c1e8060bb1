"""`RoutingIndex`: codes by which a question finds the windows of a collection, derived from their memories."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import xxhash
from filelock import FileLock

from rcc_integrations.errors import ConfigError, StoreError
from rcc_integrations.memory.names import is_key

#: Rises when older code can no longer read the files; an index of another version is made anew.
FORMAT: Final = 1

#: One window in the file of entries: key, first row of its codes, how many rows, a hash over them; then a hash over
#: these fields (xxh3-64 both).
_ENTRY: Final = struct.Struct("<32sQIQ")
_SEAL: Final = struct.Struct("<Q")
_SIZE: Final = _ENTRY.size + _SEAL.size

#: The most bytes of a header, and of all entries: files beyond that were not made here and count as missing.
_MAX_HEADER: Final = 1 << 12
_MAX_ENTRIES: Final = 1 << 31

#: Codes of windows that no document has any more may take this share of the file before it is written anew.
_WASTE: Final = 0.5


class RoutingIndex:
    """The codes of windows, in two files that only grow: `codes`, mapped from disk, and `entries`, which name them.

    An index holds nothing that cannot be made again from the memories: what is damaged or was cut off in writing
    counts as missing. Writers take turns by a lock; readers never wait, and see what was added when they `refresh`.
    A window costs `width` bytes an entry of its memory and 60 more.

    Args:
        folder: Where the files are, made when the first codes are added; `None` keeps them in RAM.
        made_by: What makes the codes, such as a hash over the weights of the maps: codes of another maker count as
            missing, and are replaced when codes are added.
        width: Bytes of a code.
    """

    def __init__(self, folder: Path | None, made_by: str, width: int) -> None:
        if width < 1:
            raise ConfigError(f"The width of routing codes must be at least 1; it is {width!r}.")
        self.made_by, self.width = made_by, width
        self._folder = folder
        self._generation: int | None = None
        self._read = 0
        self._places: dict[bytes, tuple[int, int]] = {}
        self.damaged = 0
        self.codes = np.zeros((0, width), np.int8)
        self.refresh()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def nbytes(self) -> int:
        """Bytes of the files (or of what stands in RAM for them)."""
        if self._folder is None:
            return self.codes.nbytes + len(self._places) * _SIZE
        return sum(path.stat().st_size for path in self._folder.glob("*") if path.is_file())

    @property
    def writable(self) -> bool:
        """Whether codes that are added go to disk."""
        return self._folder is not None

    def contents(self) -> dict[str, np.ndarray]:
        """Return the codes of every window, by its key."""
        return {key.hex(): self.codes[start : start + count] for key, (start, count) in self._places.items()}

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Return those of some windows' keys that have no sound codes here, each once, in order."""
        return [key for key in dict.fromkeys(keys) if bytes.fromhex(key) not in self._places]

    def places(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return where the codes of windows stand in `codes`: first rows and row counts, each of shape (windows,).

        Raises:
            KeyError: A window has no codes here; `missing` tells which.
        """
        found = [self._places[bytes.fromhex(key)] for key in keys]
        both = np.array(found, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def refresh(self) -> None:
        """Take in what was added since, by this process or another; what is damaged is left out and counted."""
        if self._folder is None:
            return
        header = self._header()
        generation = header["generation"] if header else None
        if generation != self._generation:
            self._generation, self._read, self._places, self.damaged = generation, 0, {}, 0
        if generation is None:
            self.codes = np.zeros((0, self.width), np.int8)
            return
        data = self._entries(generation)
        if len(data) == self._read and self._read:
            return
        path = self._file("codes", generation)
        rows = path.stat().st_size // self.width if path.exists() else 0
        self.codes = np.memmap(path, np.int8, "r", shape=(rows, self.width)) if rows else self.codes[:0]
        for at in range(self._read, len(data), _SIZE):
            fields = data[at : at + _ENTRY.size]
            (seal,) = _SEAL.unpack_from(data, at + _ENTRY.size)
            key, start, count, check = _ENTRY.unpack(fields)
            sound = seal == xxhash.xxh3_64_intdigest(fields) and 0 < count <= rows - start
            if sound and xxhash.xxh3_64_intdigest(self.codes[start : start + count].data) == check:
                self._places[key] = start, count
            else:
                self.damaged += 1
        self._read = len(data)

    def add(self, codes: Mapping[str, np.ndarray]) -> None:
        """Add the codes of windows, durably; those that are there already are left alone.

        Args:
            codes: By a window's key: int8, shape (entries of its memory, width).

        Raises:
            ConfigError: Codes are of another width or kind, or a key is none.
            StoreError: They cannot be written; what was there before stays.
        """
        for key, each in codes.items():
            if (
                not is_key(key)
                or each.dtype != np.int8
                or each.ndim != 2
                or not len(each)
                or each.shape[1] != self.width
            ):
                raise ConfigError(
                    f"Routing codes must be int8 of shape (entries, {self.width}); for {key!r:.20} they are "
                    f"{each.dtype} of shape {each.shape}."
                )
        if self._folder is None:
            fresh = {key: codes[key] for key in self.missing(list(codes))}
            row = len(self.codes)
            for key, each in fresh.items():
                self._places[bytes.fromhex(key)] = row, len(each)
                row += len(each)
            self.codes = np.concatenate([self.codes, *fresh.values()])
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                self.refresh()
                if self._generation is None:
                    self._begin(_generations(self._folder) + 1)
                self._append({key: codes[key] for key in self.missing(list(codes))})
        except OSError as error:
            raise StoreError(f"The routing index in {self._folder} cannot be written: {error}.") from error
        self.refresh()

    def compact(self, live: Collection[str]) -> bool:
        """Write the files anew without windows that no document has any more, if these take up much of them.

        Readers of the old files are not disturbed.

        Args:
            live: Keys of the windows to keep.

        Returns:
            Whether it was worth it.
        """
        if self._folder is None or not self._places:
            return False
        wanted = {bytes.fromhex(key) for key in live}
        used = sum(count for key, (_, count) in self._places.items() if key in wanted)
        if used >= (1 - _WASTE) * len(self.codes):
            return False
        with self._lock():
            self.refresh()
            kept = {key: np.array(codes) for key, codes in self.contents().items() if bytes.fromhex(key) in wanted}
            self._begin((self._generation or 0) + 1)
            self._append(kept)
        self.refresh()
        return True

    def remove(self) -> None:
        """Remove the files. They can be made again at any time."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._generation, self._read, self._places, self.damaged = None, 0, {}, 0
        self.codes = np.zeros((0, self.width), np.int8)

    def _lock(self) -> FileLock:
        assert self._folder is not None
        return FileLock(self._folder / "lock")

    def _file(self, kind: str, generation: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{kind}-{generation}"

    def _header(self) -> dict[str, Any] | None:
        """Return the header, or `None` if there is no index, or one of another maker or width."""
        assert self._folder is not None
        header = read_header(self._folder)
        return header if header and (header["made_by"], header["width"]) == (self.made_by, self.width) else None

    def _entries(self, generation: int) -> bytes:
        """Return the whole entries that were written so far."""
        path = self._file("entries", generation)
        try:
            data = path.read_bytes() if path.stat().st_size <= _MAX_ENTRIES else b""
        except OSError:
            return b""
        return data[: len(data) // _SIZE * _SIZE]

    def _begin(self, generation: int) -> None:
        """Begin new files; the header that names them is written once they are there."""
        assert self._folder is not None
        for kind in ("codes", "entries"):
            self._file(kind, generation).write_bytes(b"")
        header = {"format": FORMAT, "made_by": self.made_by, "width": self.width, "generation": generation}
        fresh = self._folder / "header.json.tmp"
        fresh.write_text(json.dumps(header), "utf-8")
        os.replace(fresh, self._folder / "header.json")
        for path in self._folder.glob("*-*"):
            if path.name not in (f"codes-{generation}", f"entries-{generation}"):
                path.unlink(missing_ok=True)
        self._generation, self._read, self._places, self.damaged = generation, 0, {}, 0

    def _append(self, codes: Mapping[str, np.ndarray]) -> None:
        if not codes:
            return
        assert self._generation is not None
        entries = bytearray()
        with self._file("codes", self._generation).open("r+b") as file:
            file.seek(0, os.SEEK_END)
            # What a killed writer left of a code is filled up and never named.
            file.write(b"\0" * (-file.tell() % self.width))
            row = file.tell() // self.width
            for key, each in codes.items():
                data = np.ascontiguousarray(each).data
                file.write(data)
                fields = _ENTRY.pack(bytes.fromhex(key), row, len(each), xxhash.xxh3_64_intdigest(data))
                entries += fields + _SEAL.pack(xxhash.xxh3_64_intdigest(fields))
                row += len(each)
            file.flush()
            os.fsync(file.fileno())
        with self._file("entries", self._generation).open("r+b") as file:
            whole = file.seek(0, os.SEEK_END) // _SIZE * _SIZE
            file.truncate(whole)
            file.seek(whole)
            file.write(entries)
            file.flush()
            os.fsync(file.fileno())


def _generations(folder: Path) -> int:
    numbers = [path.name.partition("-")[2] for path in folder.glob("codes-*")]
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def read_header(folder: Path) -> dict[str, Any] | None:
    """Return the header of an index: `made_by`, `width` and `generation`; `None` if there is none of this format.

    Args:
        folder: The folder of the index.
    """
    try:
        with (folder / "header.json").open("rb") as file:
            header = json.loads(file.read(_MAX_HEADER))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        return None
    kinds = {"made_by": str, "width": int, "generation": int}
    known = all(type(header.get(name)) is kind for name, kind in kinds.items())
    return header if known and header["width"] > 0 and header["generation"] >= 0 else None
