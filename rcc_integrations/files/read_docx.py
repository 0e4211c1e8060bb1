"""Word files through python-docx: paragraphs and tables in document order, then the notes."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from rcc_integrations.errors import EmptyDocumentError, MissingExtraError, UnreadableFileError
from rcc_integrations.files.parsed import Parsed, tidy, title_in
from rcc_integrations.files.word_text import blocks

_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_MAX_UNPACKED = 512 * 2**20


def read_docx(data: bytes, name: str) -> Parsed:
    """Read a Word document with an empty line between paragraphs.

    Headings, lists, tables (a row is one line with its cells between bars), text boxes, content controls, footnotes
    and endnotes are read; tracked insertions count as text and tracked deletions do not. Headers, footers and
    comments are left out.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.

    Returns:
        The text; metadata holds ``title`` where the file's properties give one.

    Raises:
        UnreadableFileError: If the file is broken, needs a password, or would unpack to more than 512 MiB.
        EmptyDocumentError: If it holds no text.
        MissingExtraError: If python-docx is not installed.
    """
    try:
        import docx
        from docx.oxml import parse_xml
    except ImportError as error:
        raise MissingExtraError("python-docx", "files", f"Reading {name} (Word)") from error
    if data.startswith(_OLD_OFFICE):
        raise UnreadableFileError(
            f"{name} needs a password, or is an old .doc file: save it as .docx without a password."
        )
    try:
        _check_size(data, name)
        document = docx.Document(io.BytesIO(data))
        parts = blocks(document.element.body)
        for relation in document.part.rels.values():
            if not relation.is_external and relation.reltype.endswith(("/footnotes", "/endnotes")):
                parts += blocks(parse_xml(relation.target_part.blob))
        metadata: dict[str, Any] = title_in(document.core_properties.title)
    except UnreadableFileError:
        raise
    # A damaged package makes zipfile, lxml and python-docx fail with types of their own, KeyError among them.
    except Exception as error:
        raise UnreadableFileError(f"{name} cannot be read as .docx: {error or type(error).__name__}.") from error
    text = tidy("\n\n".join(parts))
    if not text:
        raise EmptyDocumentError(f"{name} holds no text; pictures are not read.")
    return Parsed(text, metadata)


def _check_size(data: bytes, name: str) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as package:
        unpacked = sum(entry.file_size for entry in package.infolist())
    if unpacked > _MAX_UNPACKED:
        raise UnreadableFileError(
            f"{name} would unpack to {unpacked / 2**20:.0f} MiB, more than the {_MAX_UNPACKED // 2**20} MiB that are "
            "read: save it without its media, or split it."
        )
