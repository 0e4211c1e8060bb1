"""The files below a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rcc_integrations.files.skipped import Skipped

_GENERATED = frozenset(("node_modules", "__pycache__", "__MACOSX"))


@dataclass(frozen=True)
class Found:
    """A file below a folder: its path relative to the folder with ``/``, and whether it is a symbolic link."""

    relative: str
    path: Path
    is_link: bool


def walk(root: Path, enter: Callable[[str, bool], bool], *, hidden: bool = False) -> Iterator[Found | Skipped]:
    """Go through all files below a folder, in no particular order.

    Hidden files and folders, generated folders (``node_modules``, ``__pycache__``), virtual environments, Office's
    lock files and stores of this package are left out and named. A symbolic link to a file is given as one;
    a link to a folder is named and not followed, so that there is no loop.

    Args:
        root: The folder.
        enter: Told a relative path and whether it is a folder's; False leaves it out silently.
        hidden: Do not leave out what is hidden.
    """
    todo = [(root, "")]
    while todo:
        folder, prefix = todo.pop()
        try:
            with os.scandir(folder) as entries:
                children = list(entries)
        except OSError as error:
            yield Skipped(str(folder), f"the folder cannot be read: {error.strerror or error}")
            continue
        for entry in children:
            relative = f"{prefix}{entry.name}"
            is_folder = _is_folder(entry)
            if not enter(relative, is_folder):
                continue
            path = folder / entry.name
            if reason := _left_out(entry.name, path if is_folder else None, hidden):
                yield Skipped(str(path), reason, routine=True)
            elif not is_folder:
                yield Found(relative, path, entry.is_symlink())
            elif entry.is_symlink():
                yield Skipped(str(path), "a symbolic link to a folder: give it as a path of its own to read it")
            else:
                todo.append((path, f"{relative}/"))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symbolic link to itself; opening it will say so
        return False


def _left_out(name: str, folder: Path | None, hidden: bool) -> str:
    what = "folder" if folder else "file"
    if name.startswith(".") and not hidden:
        return f"a hidden {what}"
    if name.startswith("~$"):
        return "a lock file of an open document"
    if folder is None:
        return ""
    if name in _GENERATED:
        return "a generated folder"
    if os.path.isfile(folder / "pyvenv.cfg"):
        return "a virtual environment"
    if os.path.isfile(folder / "store.json") and os.path.isdir(folder / "blobs"):
        return "a memory store"
    return ""
