"""Turns what the operating system raises into this package's errors."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from rcc_integrations.errors import StoreAccessError, StoreError, StoreFullError, StoreReadOnlyError

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}


def write_error(error: OSError, action: str) -> StoreError:
    """Return the error of this package for a failed write.

    Args:
        error: What was raised.
        action: What could not be done, behind "Cannot".
    """
    if error.errno in _FULL:
        return StoreFullError(
            f"No room to {action}: {error.strerror}. Free some space or move the store; nothing half-written stays."
        )
    if error.errno in _READ_ONLY:
        return StoreReadOnlyError(f"Cannot {action}: {error.strerror}. The store can only be read from here.")
    if error.errno in _DESCRIPTORS:
        return StoreAccessError(f"Cannot {action}: {error.strerror}. Raise the limit of open files (ulimit -n).")
    if error.errno == errno.ENOENT:
        return StoreError(f"Cannot {action}: a file or folder was removed meanwhile. Try again.")
    return StoreError(f"Cannot {action}: {error.strerror or error}.")


def access_error(error: OSError, path: object) -> StoreAccessError:
    """Return the error of this package for something that cannot be read.

    Args:
        error: What was raised.
        path: What could not be read.
    """
    advice = "Nothing is known about its content: see to the cause and try again."
    if error.errno in _DESCRIPTORS:
        advice = "Raise the limit of open files (ulimit -n) and try again."
    elif error.errno in _READ_ONLY:
        advice = "Let this user read the store's folder and everything in it."
    return StoreAccessError(f"{path} cannot be opened or read: {error.strerror or error}. {advice}")


@contextlib.contextmanager
def access(path: Path) -> Iterator[None]:
    """Let errors of the operating system out of a block as `StoreAccessError`.

    Args:
        path: What to name where the error names no file.
    """
    try:
        yield
    except OSError as error:
        raise access_error(error, error.filename or path) from error
