"""Word files through python-docx: paragraphs and tables in document order, then the notes."""

from __future__ import annotations

import io
import zipfile
from typing import Any

from rcc_integrations.errors import EmptyDocumentError, MissingExtraError, UnreadableFileError
from rcc_integrations.files.parsed import Parsed, tidy, title_in
from rcc_integrations.files.word_text import blocks

_OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
#: The most bytes that the parts of a document unpack to, pictures and other media left out.
MAX_UNPACKED = 64 * 2**20
_MEDIA = ("media/", "embeddings/", "fonts/")
_PIECE = 1 << 20


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
        UnreadableFileError: If the file is broken, needs a password, or unpacks to more than 64 MiB, pictures left
            out.
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
        document = docx.Document(_bounded(data, name))
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


def _bounded(data: bytes, name: str) -> io.BytesIO:
    """Return the package without its media, every part of it as long as it says.

    What a package's directory says of lengths can be a lie, and libraries unpack a part as a whole. Here parts are
    unpacked piece by piece, and the first piece too much ends it.
    """
    plain = io.BytesIO()
    left = MAX_UNPACKED
    with zipfile.ZipFile(io.BytesIO(data)) as package, zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as kept:
        for entry in package.infolist():
            if entry.is_dir():
                continue
            if any(place in entry.filename for place in _MEDIA):
                # Its place stays, so that what refers to it finds something.
                kept.writestr(entry.filename, b"")
                continue
            with package.open(entry) as source, kept.open(entry.filename, "w") as sink:
                while piece := source.read(_PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise UnreadableFileError(
                            f"{name} unpacks to more than the {MAX_UNPACKED // 2**20} MiB that are read, pictures left "
                            "out: split it."
                        )
                    sink.write(piece)
    plain.seek(0)
    return plain
