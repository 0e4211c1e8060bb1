"""Finds the files that can be read under the paths that a user gives."""

from __future__ import annotations

import difflib
import os
import stat
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import BinaryIO

from rcc_integrations.errors import ConfigError
from rcc_integrations.files.examine import examine, examine_stream
from rcc_integrations.files.patterns import WILDCARDS, Exclude, matches, may_hold, split_pattern
from rcc_integrations.files.skipped import Skipped
from rcc_integrations.files.source import SIZE_LIMIT, SourceFile
from rcc_integrations.files.walk import Found, walk


def find_files(
    paths: Sequence[str | Path] | str | Path,
    *,
    exclude: Sequence[str] = (),
    limit: int = SIZE_LIMIT,
    follow_links: bool = False,
    stdin_name: str = "stdin",
    stdin: BinaryIO | None = None,
) -> tuple[list[SourceFile], list[Skipped]]:
    """Find the files to read. Nothing is parsed; only the first bytes of each file are examined.

    Args:
        paths: Files, folders (searched at any depth), globs such as ``docs/**/*.md``, or ``-`` for standard input.
            A document's id is its path relative to the folder given, or to the part of a glob before its first
            wildcard; a single file's is its name.
        exclude: Patterns of files and folders to leave out; see `Exclude`.
        limit: Largest file that is read, in bytes.
        follow_links: Read what a symbolic link in a folder leads to outside of that folder too. A link that is given
            as a path itself is read in any case.
        stdin_name: Document id of standard input; its suffix tells the kind.
        stdin: Where ``-`` is read from, by default the process's standard input.

    Returns:
        The files in the order of `paths`, sorted by id within each path and each file once; and whatever else was
        found there, with the reason why it is not read.

    Raises:
        ConfigError: If a path does not exist, a glob matches no file, or files of different folders would get one id.
    """
    if limit < 1:
        raise ConfigError(f"The size limit must be at least one byte, not {limit}.")
    finder = _Finder(Exclude(exclude), limit, follow_links)
    for path in [paths] if isinstance(paths, str | Path) else paths:
        if str(path) == "-":
            finder.add_stream(stdin or sys.stdin.buffer, stdin_name)
        else:
            finder.add(str(path))
    return list(finder.sources.values()), list(dict.fromkeys(finder.skipped))


class _Finder:
    """Collects sources by id, and what is skipped."""

    def __init__(self, exclude: Exclude, limit: int, follow_links: bool) -> None:
        self.sources: dict[str, SourceFile] = {}
        self.skipped: list[Skipped] = []
        self._exclude = exclude
        self._limit = limit
        self._follow_links = follow_links
        self._ids: dict[str, str] = {}  # real path: id
        self._names: dict[str, str] = {}  # id: the path as the file system has it

    def add(self, given: str) -> None:
        if not given.strip() or "\0" in given:
            raise ConfigError(
                f"The path {given!r} names nothing: give a file, a folder, a glob, or - for standard input."
            )
        path = Path(given)
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            if WILDCARDS.intersection(given):
                self._add_glob(given)
            elif path.is_symlink():
                self._skip(given, f"a broken symbolic link to {path.readlink()}")
            else:
                raise ConfigError(f"There is no file or folder {given!r}.{_near(path)}") from None
        except OSError as error:
            self._skip(given, f"cannot be read: {error.strerror or error}")
        else:
            if is_folder:
                self._add_folder(path, lambda relative, _: not self._exclude.covers(relative, str(path / relative)))
            elif not self._exclude.covers(path.name, given):
                self._add_file(Found(path.name, path, path.is_symlink()), os.path.realpath(path))

    def add_stream(self, stream: BinaryIO, name: str) -> None:
        if (known := self.sources.get(name)) and known.source == "-":
            return
        source = examine_stream(name, stream, self._limit)
        if isinstance(source, Skipped):
            self.skipped.append(source)
        else:
            self._keep(source)

    def _add_glob(self, given: str) -> None:
        base, pattern = split_pattern(given)
        root = Path(base)

        def wanted(relative: str, is_folder: bool) -> bool:
            fits = (may_hold if is_folder else matches)(relative.split("/"), pattern)
            return fits and not self._exclude.covers(relative, str(root / relative))

        if not os.path.isdir(root):
            raise ConfigError(f"The pattern {given!r} matches nothing: there is no folder {base!r}.{_near(root)}")
        hidden = any(part.startswith(".") for part in pattern)
        self._add_folder(root, wanted, pattern=given, hidden=hidden)

    def _add_folder(
        self,
        root: Path,
        wanted: Callable[[str, bool], bool],
        *,
        pattern: str = "",
        hidden: bool = False,
    ) -> None:
        before = len(self.skipped)
        found: list[Found] = []
        for item in walk(root, wanted, hidden=hidden):
            if isinstance(item, Found):
                found.append(item)
            elif not pattern or not item.routine:
                self.skipped.append(item)
        if pattern and not found:
            raise ConfigError(f"The pattern {pattern!r} matches no file below {str(root)!r}.")
        real_root = os.path.realpath(root)
        kept: list[SourceFile] = []
        # Links come last, so that a file that lies in the folder keeps the id of its own place.
        for item in sorted(found, key=lambda item: (item.is_link, item.relative.split("/"))):
            real = os.path.realpath(item.path) if item.is_link else os.path.join(real_root, *item.relative.split("/"))
            if item.is_link and not self._follow_links and not _is_inside(real, real_root):
                self._skip(str(item.path), f"a link to {real}, outside the folder: --follow-links reads it")
                continue
            if source := self._add_file(item, real):
                kept.append(source)
        self.skipped[before:] = sorted(self.skipped[before:], key=lambda item: item.path)
        for source in sorted(kept, key=lambda source: source.id.split("/")):
            self.sources[source.id] = self.sources.pop(source.id)

    def _add_file(self, found: Found, real: str) -> SourceFile | None:
        identity = unicodedata.normalize("NFC", found.relative)
        if real in self._ids:
            if self._ids[real] != identity:
                self._skip(str(found.path), f"the same file as {self._ids[real]!r}, which is read", routine=True)
            return None
        source = examine(identity, found.path, self._limit)
        if isinstance(source, Skipped):
            self.skipped.append(source)
            return None
        source = self._tell_apart(source, found)
        self._ids[real] = source.id
        self._names[source.id] = found.relative
        self._keep(source)
        return source

    def _tell_apart(self, source: SourceFile, found: Found) -> SourceFile:
        """Return a source under an id of its own, where another's name differs in the normal form of Unicode alone.

        The one whose name is composed has the id that both would get; the other's is its name as it stands.
        """
        known = self.sources.get(source.id)
        other = self._names.get(source.id)
        if known is None or other is None or other == found.relative:
            return source
        if found.relative != source.id:
            return replace(source, id=found.relative)
        for real, identity in self._ids.items():
            if identity == source.id:
                self._ids[real] = other
        self._names[other] = other
        self.sources[other] = replace(self.sources.pop(source.id), id=other)
        return source

    def _keep(self, source: SourceFile) -> None:
        if known := self.sources.get(source.id):
            raise ConfigError(
                f"{known.source!r} and {source.source!r} would both become the document {source.id!r}: give the folder "
                "that holds both, or a quoted glob, so that their ids keep the folder's name; or add them one by one."
            )
        self.sources[source.id] = source

    def _skip(self, path: str, reason: str, *, routine: bool = False) -> None:
        self.skipped.append(Skipped(path, reason, routine))


def _is_inside(path: str, folder: str) -> bool:
    try:
        return os.path.commonpath([path, folder]) == folder
    except ValueError:  # on another drive
        return False


def _near(path: Path) -> str:
    """Return a sentence with the names beside a missing path that look like it."""
    folder = path.parent
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(repr(str(PurePath(folder) / name)) for name in near)}?" if near else ""
