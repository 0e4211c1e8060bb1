"""`SourceFile`: a file that can be read into a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rcc_integrations.document import Document, digest_of
from rcc_integrations.errors import EmptyDocumentError, UnreadableFileError
from rcc_integrations.files.plain import read_plain

SIZE_LIMIT = 64 * 2**20
"""Default maximum size of a file, in bytes."""


@dataclass(frozen=True)
class SourceFile:
    """A readable file; its bytes are read when they are first needed.

    Args:
        id: Document id: a relative path with `/` between its parts.
        path: Path of the file; `-` for standard input.
        kind: `text`, `html`, `pdf` or `docx`.
        source: The path as the user gave it, joined with the part below it.
        limit: Maximum number of bytes that are read.
        data: The bytes, if they have been read already (standard input), else None.
    """

    id: str
    path: Path
    kind: str
    source: str
    limit: int = SIZE_LIMIT
    data: bytes | None = field(default=None, repr=False, compare=False)

    @cached_property
    def digest(self) -> str:
        """BLAKE2b-256 hash of the raw bytes in hex; if it is unchanged, the file need not be parsed again.

        Raises:
            UnreadableFileError: The file can no longer be read, or has grown beyond the limit.
        """
        return digest_of(self._bytes())

    def read(self) -> Document:
        """Read and parse the file.

        Returns:
            The document; its digest is that of the bytes that were parsed, even if the file has changed since.

        Raises:
            UnreadableFileError: If the file cannot be read, is broken, is no text, or takes more time or memory to
                parse than is allowed (see `rcc_integrations.files.parsing`).
            EmptyDocumentError: If it holds no text.
            MissingExtraError: If the library for its kind is not installed.
        """
        from rcc_integrations.files.parsing import parse

        data = self._bytes()
        # Readers know Markdown by its suffix; an id given to standard input has one as well.
        parsed = parse(self.kind, data, self.source if self.data is None else self.id)
        if not parsed.text.strip():
            raise EmptyDocumentError(f"{self.source} is empty: there is no text to compress.")
        metadata: dict[str, Any] = {"source": self.source, "kind": self.kind, **parsed.metadata}
        return Document(self.id, parsed.text, digest_of(data), metadata)

    def _bytes(self) -> bytes:
        if self.data is not None:
            return self.data
        try:
            data = read_plain(self.path, self.limit + 1)
        except OSError as error:
            raise UnreadableFileError(f"{self.source} cannot be read: {error.strerror or error}.") from error
        if len(data) > self.limit:
            raise UnreadableFileError(f"{self.source} is larger than the limit of {self.limit} bytes.")
        return data
