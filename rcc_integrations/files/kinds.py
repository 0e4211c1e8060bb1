"""Which reader a file gets, and which files get none."""

from __future__ import annotations

from pathlib import PurePath

from rcc_integrations.files.encoding import looks_binary
from rcc_integrations.files.parsed import Reader
from rcc_integrations.files.read_docx import read_docx
from rcc_integrations.files.read_html import read_html
from rcc_integrations.files.read_pdf import read_pdf
from rcc_integrations.files.read_text import read_text

HEAD_BYTES = 8192
"""How much of a file is looked at to tell its kind."""

KINDS: dict[str, Reader] = {"text": read_text, "html": read_html, "pdf": read_pdf, "docx": read_docx}
"""The reader of each kind."""

READERS: dict[str, Reader] = {
    ".htm": read_html,
    ".html": read_html,
    ".xhtml": read_html,
    ".pdf": read_pdf,
    ".docx": read_docx,
}
"""The reader of each suffix (lower case); a file of any other suffix is read as text if it holds text."""

UNSUPPORTED = {
    ".doc": "save it as .docx",
    ".docm": "save it as .docx",
    ".dot": "save it as .docx",
    ".dotx": "save it as .docx",
    ".odt": "save it as .docx",
    ".pages": "export it as .docx or PDF",
    ".rtf": "save it as .docx",
    ".epub": "convert it to HTML or text",
    ".mobi": "convert it to HTML or text",
    ".mht": "save the page as HTML",
    ".mhtml": "save the page as HTML",
    ".ps": "convert it to PDF",
    ".eps": "convert it to PDF",
    ".svg": "it is a picture",
    ".ppt": "export it as PDF",
    ".pptx": "export it as PDF",
    ".odp": "export it as PDF",
    ".xls": "save it as .csv",
    ".xlsx": "save it as .csv",
    ".ods": "save it as .csv",
}
"""Suffixes that people expect to be read, some of them text to a computer but not to a reader, and what to do."""


def kind_of(name: str, head: bytes) -> tuple[str, str]:
    """Tell the kind of a file from its suffix or, where that says nothing, from its first bytes.

    Args:
        name: The file's name.
        head: Its first `HEAD_BYTES` bytes, or all of a shorter file.

    Returns:
        The kind, a key of `KINDS`, and an empty string; or an empty string and the reason why there is none.
    """
    suffix = PurePath(name).suffix.lower()
    if suffix in UNSUPPORTED:
        return "", f"{suffix} files are not supported: {UNSUPPORTED[suffix]}"
    if reader := READERS.get(suffix):
        return next(kind for kind, known in KINDS.items() if known is reader), ""
    if head.startswith(b"%PDF-"):
        return "pdf", ""
    if reason := looks_binary(head):
        return "", reason
    if not suffix and head.lstrip(b"\xef\xbb\xbf\t\r\n ")[:15].lower().startswith((b"<!doctype html", b"<html")):
        return "html", ""
    return "text", ""
