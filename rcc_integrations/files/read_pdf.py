"""PDF files through pypdf: the text layer, page by page."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

from rcc_integrations.errors import MissingExtraError, UnreadableFileError
from rcc_integrations.files.parsed import Parsed, tidy, title_in

if TYPE_CHECKING:
    from pypdf import PdfReader

# pypdf logs every oddity of a file; without any handler Python would print them to the user's terminal.
_QUIET = logging.NullHandler()


def read_pdf(data: bytes, name: str) -> Parsed:
    """Read the text layer of a PDF, with an empty line between pages.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.

    Returns:
        The text; metadata holds ``pages`` (how many), ``title`` where the file gives one, and
        ``pages_without_text`` (numbers from 1) where some pages have none, for example scanned ones.

    Raises:
        UnreadableFileError: If the file is broken, needs a password, or holds no text on any page.
        MissingExtraError: If pypdf is not installed.
    """
    try:
        import pypdf
    except ImportError as error:
        raise MissingExtraError("pypdf", "files", f"Reading {name} (PDF)") from error
    logging.getLogger("pypdf").addHandler(_QUIET)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        _unlock(reader, name)
        pages = [tidy(page.extract_text()) for page in reader.pages]
        title = reader.metadata.title if reader.metadata else None
    except UnreadableFileError:
        raise
    # A damaged PDF makes pypdf fail with almost any type, KeyError and RecursionError among them.
    except Exception as error:
        raise UnreadableFileError(f"{name} cannot be read as PDF: {error or type(error).__name__}.") from error
    metadata: dict[str, Any] = {"pages": len(pages)} | title_in(title)
    empty = [number for number, text in enumerate(pages, start=1) if not text]
    if len(empty) == len(pages):
        raise UnreadableFileError(
            f"{name} has {len(pages)} page(s) but no text layer, as scanned or drawn pages have: run text recognition "
            "on it first (for example ocrmypdf)."
        )
    if empty:
        metadata["pages_without_text"] = empty
    return Parsed("\n\n".join(text for text in pages if text), metadata)


def _unlock(reader: PdfReader, name: str) -> None:
    """Open a PDF that is encrypted with an empty password, as many are that only forbid printing."""
    from pypdf.errors import DependencyError

    if not reader.is_encrypted:
        return
    try:
        opened = reader.decrypt("")
    except DependencyError as error:
        raise UnreadableFileError(
            f"{name} is encrypted with AES, which pypdf reads only with cryptography: pip install cryptography, or "
            "save the file without encryption."
        ) from error
    if not opened:
        raise UnreadableFileError(f"{name} is encrypted and needs a password: save it without one.")
