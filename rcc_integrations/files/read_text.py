"""Plain text of any sort: notes, Markdown, CSV, JSON, logs, source code."""

from __future__ import annotations

from typing import Any

from rcc_integrations.files.encoding import decode
from rcc_integrations.files.parsed import Parsed, clean, title_in

#: A heading is looked for in so many characters.
_OPENING = 4096


def read_text(data: bytes, name: str) -> Parsed:
    """Read a text file as it stands; only line endings and the byte order mark change.

    Args:
        data: The file's bytes.
        name: The file's name, for messages and to know Markdown by its suffix.

    Returns:
        The text; metadata holds ``encoding`` where it is not UTF-8, and ``title`` for Markdown that opens with one.

    Raises:
        UnreadableFileError: If the bytes are no text.
        MissingExtraError: If the text is not UTF-8 and charset-normalizer is not installed.
    """
    text, encoding = decode(data, name)
    text = clean(text)
    metadata: dict[str, Any] = {}
    if name.lower().endswith((".md", ".markdown")):
        metadata |= title_in(_heading(text))
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    return Parsed(text, metadata)


def _heading(text: str) -> str:
    """Return the words of a heading that a Markdown text opens with; empty where it opens with something else."""
    line = text[:_OPENING].lstrip().partition("\n")[0]
    if not line.startswith(("# ", "#\t")):
        return ""
    return line[1:].strip().rstrip("#").strip()
