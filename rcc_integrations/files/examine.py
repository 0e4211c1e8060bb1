"""A first look at an input: can it be read, and as what?"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from rcc_integrations.files.kinds import HEAD_BYTES, kind_of
from rcc_integrations.files.names import id_fault, printable
from rcc_integrations.files.plain import read_plain
from rcc_integrations.files.skipped import Skipped
from rcc_integrations.files.source import SourceFile


def examine(identity: str, path: Path, limit: int) -> SourceFile | Skipped:
    """Look at the first bytes of a file.

    Args:
        identity: The document id that it would get.
        path: The file; symbolic links are followed.
        limit: Largest file that is read, in bytes.
    """
    if fault := id_fault(identity):
        return Skipped(str(path), fault)
    try:
        status = path.stat()
        # Anything else, a pipe for example, could block for ever.
        if not stat.S_ISREG(status.st_mode):
            return Skipped(str(path), "no regular file: use - to read from standard input")
        head = read_plain(path, HEAD_BYTES)
    except OSError as error:
        return Skipped(str(path), f"cannot be read: {error.strerror or error}")
    kind, fault = kind_of(path.name, head)
    if fault := _size_fault(max(status.st_size, len(head)), head, limit) or fault:
        return Skipped(str(path), fault)
    return SourceFile(identity, path, kind, printable(path.as_posix()), limit)


def examine_stream(identity: str, stream: BinaryIO, limit: int) -> SourceFile | Skipped:
    """Read a stream and look at its first bytes.

    Args:
        identity: The document id that it gets; its suffix tells the kind.
        stream: Read to its end, or to one byte beyond the limit.
        limit: Most bytes that are read.
    """
    data = stream.read(limit + 1)
    kind, fault = kind_of(identity, data[:HEAD_BYTES])
    if fault := id_fault(identity) or _size_fault(len(data), data[:HEAD_BYTES], limit) or fault:
        return Skipped("-", fault)
    return SourceFile(identity, Path("-"), kind, "-", limit, data)


def _size_fault(size: int, head: bytes, limit: int) -> str:
    if size <= HEAD_BYTES and not head.strip():
        return "empty: there is no text in it"
    if size > limit:
        return f"too large: over the limit of {limit / 2**20:.6g} MiB; raise the limit or split the file"
    return ""
