"""What a reader makes of one file's bytes, and the shape that every reader has."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Parsed:
    r"""The text of one file and what the file says about itself.

    Args:
        text: The text, with ``\n`` as the only line ending, no NUL and no lone surrogate.
        metadata: JSON values such as ``title``, ``pages`` or ``encoding``; empty where nothing is known.
    """

    text: str
    metadata: dict[str, Any] = field(default_factory=dict)


Reader = Callable[[bytes, str], Parsed]
"""Takes a file's bytes and its name for messages; raises `UnreadableFileError` or `MissingExtraError` only."""


def clean(text: str) -> str:
    r"""Return text that any store can hold, with the author's characters otherwise kept.

    Line endings become ``\n``, NULs go, surrogate pairs are joined and lone surrogates become U+FFFD. Nothing is
    normalised (no NFC): citations must be found again in the source as the author wrote them.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    if re.search("[\ud800-\udfff]", text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def tidy(text: str) -> str:
    """Return cleaned text without trailing blanks in lines and with at most one empty line in a row.

    For kinds whose line breaks are made by the reader (HTML, PDF, DOCX), not for text that an author laid out.
    """
    lines = "\n".join(line.rstrip() for line in clean(text).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", lines).strip()


def title_in(metadata_title: object) -> dict[str, Any]:
    """Return ``{"title": …}`` on one line for a title that says something, an empty dict for any other value."""
    title = " ".join(clean(str(metadata_title)).split()) if metadata_title else ""
    return {"title": title[:300]} if title else {}
