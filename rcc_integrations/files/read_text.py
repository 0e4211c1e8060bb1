"""Plain text of any sort: notes, Markdown, CSV, JSON, logs, source code."""

from __future__ import annotations

import re
from typing import Any

from rcc_integrations.files.encoding import decode
from rcc_integrations.files.parsed import Parsed, clean, title_in

_HEADING = re.compile(r"\s*#[ \t]+(\S.*?)[ \t]*#*[ \t]*(?:\n|$)")


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
    if name.lower().endswith((".md", ".markdown")) and (heading := _HEADING.match(text)):
        metadata |= title_in(heading[1])
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    return Parsed(text, metadata)
