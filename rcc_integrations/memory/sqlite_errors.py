"""Turns what SQLite and diskcache raise into this package's errors."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from diskcache import Timeout

from rcc_integrations.errors import StoreError, StoreFormatError, StoreFullError, StoreReadOnlyError

REPAIR: Final = (
    "`rcc verify --repair` saves what can be read of it and what its backup has; the damaged files are kept in "
    "lost+found."
)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Let only errors of this package out of a block that talks to the index.

    Args:
        path: The index folder, for the message.
    """
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, Timeout, UnicodeDecodeError) as error:
        # SQLite quotes what it stumbles over, and Python cannot always read that.
        raise store_error(error, path) from error


def store_error(error: BaseException, path: Path) -> StoreError:
    """Return the error of this package for a failure of the index; looks through the chain for the first cause."""
    reasons = []
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, sqlite3.Error | sqlite3.Warning):
            reasons.append(str(link))
        link = link.__cause__ or link.__context__
    text = "; ".join(reasons) or type(error).__name__
    if "full" in text:
        return StoreFullError(f"No room for the index in {path}: {text}. Free some space; nothing was changed.")
    if any(word in text for word in ("readonly", "read-only", "query_only")):
        return StoreReadOnlyError(f"The index in {path} cannot be written: {text}.")
    if "locked" in text or "busy" in text:
        return StoreError(f"The index in {path} is locked by another process: {text}. Try again later.")
    if "unable to open" in text or "disk I/O" in text or "authorization" in text:
        return StoreError(
            f"The index in {path} cannot be opened, read or written: {text}. Check the disk, the room on it and the "
            "permissions."
        )
    return StoreFormatError(f"The index in {path} is damaged or not one of this package's: {text}. {REPAIR}")
