"""HTML pages through BeautifulSoup: what a reader of the page sees, without scripts and navigation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rcc_integrations.errors import EmptyDocumentError, MissingExtraError, UnreadableFileError
from rcc_integrations.files.encoding import decode
from rcc_integrations.files.parsed import Parsed, title_in

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
_XML_CHARSET = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9_.:-]{1,40})")
_XML_PROLOG = re.compile(r"^\s*<\?xml[^>]*\?>")
_HEAD_BYTES = 4096


def read_html(data: bytes, name: str) -> Parsed:
    """Read an HTML page as plain text.

    Scripts, styles, navigation, forms' controls and hidden elements are left out; headings, paragraphs and list items
    get lines of their own; a table row is one line with its cells between bars.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.

    Returns:
        The text; metadata holds ``title`` where the page has one, and ``encoding`` where it is not UTF-8.

    Raises:
        UnreadableFileError: If the bytes are no text, or the page cannot be parsed.
        EmptyDocumentError: If nothing readable is left of the page.
        MissingExtraError: If BeautifulSoup, or charset-normalizer where it is needed, is not installed.
    """
    try:
        from bs4 import BeautifulSoup

        from rcc_integrations.files.page_text import page_text
    except ImportError as error:
        raise MissingExtraError("beautifulsoup4", "files", f"Reading {name} (HTML)") from error
    markup, encoding = decode(data, name, _declared(data[:_HEAD_BYTES]))
    try:
        # The prolog and a markup of one line make BeautifulSoup warn of things that do not hold here.
        soup = BeautifulSoup(_XML_PROLOG.sub("", markup) + "\n", "html.parser")
        metadata: dict[str, Any] = title_in(_title(soup))
        text = page_text(soup)
    except Exception as error:
        raise UnreadableFileError(f"{name} cannot be read as HTML: {error or type(error).__name__}.") from error
    if not text:
        raise EmptyDocumentError(
            f"{name} holds no text once scripts, navigation and hidden parts are left out; a page that is built by "
            "scripts must be saved from a browser first."
        )
    if encoding != "utf-8":
        metadata["encoding"] = encoding
    return Parsed(text, metadata)


def _declared(head: bytes) -> str | None:
    found = _CHARSET.search(head) or _XML_CHARSET.search(head)
    encoding = found[1].decode("ascii").lower() if found else None
    # Browsers read what calls itself Latin-1 as Windows-1252, because it nearly always is.
    return "cp1252" if encoding in ("iso-8859-1", "latin-1", "latin1", "windows-1252", "us-ascii") else encoding


def _title(soup: BeautifulSoup) -> str:
    for tag in ("title", "h1"):
        if (found := soup.find(tag)) and (text := found.get_text(" ", strip=True)):
            return text
    return ""
