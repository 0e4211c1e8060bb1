"""Opens files of a user without waiting for what may never come."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file for reading.

    A pipe, a device, and a file such as `/proc/kmsg` whose reader would wait for its writer, are errors.

    Raises:
        OSError: It cannot be opened, or is no plain file.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_plain(path: Path, most: int) -> bytes:
    """Return the first bytes of a plain file.

    Args:
        path: The file.
        most: How many bytes to read.

    Raises:
        OSError: It cannot be read now, or is no plain file.
    """
    with open_plain(path) as file:
        data: bytes | None = file.read(most)
    if data is None:
        raise OSError(errno.EAGAIN, "its content would have to be waited for", str(path))
    return data
