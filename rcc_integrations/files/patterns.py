"""Path patterns: ``*``, ``?`` and ``[…]`` within one part of a path, ``**`` over any number of folders."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePath

from rcc_integrations.errors import ConfigError

WILDCARDS = frozenset("*?[")


def split_pattern(pattern: str) -> tuple[str, tuple[str, ...]]:
    """Split a glob into the folder before its first wildcard and the parts from there on.

    Args:
        pattern: For example ``docs/**/*.md``, which gives ``("docs", ("**", "*.md"))``.
    """
    parts = PurePath(pattern).parts
    first = next(index for index, part in enumerate(parts) if WILDCARDS.intersection(part))
    return str(PurePath(*parts[:first])), parts[first:]


def matches(parts: Sequence[str], pattern: Sequence[str], *, hidden: bool = False) -> bool:
    """Tell whether a file's path fits a pattern.

    Args:
        parts: The path's parts.
        pattern: The pattern's parts; a last ``**`` stands for everything below.
        hidden: Let wildcards match names that begin with a dot.
    """
    if not pattern:
        return not parts
    if pattern[0] == "**":
        rest = pattern[1:]
        while rest and rest[0] == "**":
            rest = rest[1:]
        return bool(parts) and (not rest or any(matches(parts[at:], rest, hidden=hidden) for at in range(len(parts))))
    return bool(parts) and _fits(parts[0], pattern[0], hidden) and matches(parts[1:], pattern[1:], hidden=hidden)


def may_hold(folder: Sequence[str], pattern: Sequence[str]) -> bool:
    """Tell whether files below a folder can fit a pattern, so that other folders need not be searched."""
    for part, wanted in zip(folder, pattern, strict=False):
        if wanted == "**":
            return True
        if not _fits(part, wanted, hidden=False):
            return False
    return len(folder) < len(pattern)


def _fits(name: str, wanted: str, hidden: bool) -> bool:
    return fnmatchcase(name, wanted) and (hidden or not name.startswith(".") or wanted.startswith("."))


class Exclude:
    """What a user wants left out.

    Args:
        patterns: Each without ``/`` covers files and folders of that name at any depth (``drafts``, ``*.log``); one
            with ``/`` covers a path, counted from the folder that is searched or written as the user wrote the input.

    Raises:
        ConfigError: If a pattern is empty.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._names: list[str] = []
        self._paths: list[tuple[str, ...]] = []
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            parts = PurePath(pattern).parts
            if not parts:
                raise ConfigError(
                    f"The exclude pattern {pattern!r} names nothing: give a name or a path, such as '*.log'."
                )
            if len(parts) == 1:
                self._names.append(parts[0])
            else:
                self._paths.append(parts)

    def covers(self, relative: str, given: str) -> bool:
        """Tell whether a file or folder is to be left out.

        Args:
            relative: Its path below the folder that is searched.
            given: Its path as the user would write it.
        """
        path, whole = PurePath(relative), PurePath(given)
        if any(fnmatchcase(path.name, name) for name in self._names):
            return True
        return any(matches(item.parts, parts, hidden=True) for parts in self._paths for item in (path, whole))
