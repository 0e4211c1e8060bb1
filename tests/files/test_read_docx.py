from __future__ import annotations

import io
import sys
import zipfile

import docx
import pytest
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from rcc_integrations.errors import EmptyDocumentError, MissingExtraError, UnreadableFileError
from rcc_integrations.files.read_docx import read_docx
from tests.files.makers import make_docx, save


def test_headings_paragraphs_and_tables_come_in_document_order() -> None:
    document = docx.Document()
    document.core_properties.title = "Holm"
    document.add_heading("The ferry", 1)
    document.add_paragraph("It leaves at 7:45.")
    table = document.add_table(rows=2, cols=3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "Place"
    table.cell(0, 2).text = "Price"
    table.cell(1, 0).text = "Holm"
    table.cell(1, 1).add_paragraph("harbour")
    table.cell(1, 2).add_table(1, 2).cell(0, 0).text = "12\neuros"
    document.add_paragraph("First", style="List Bullet")
    document.add_paragraph("").add_run("tab\tand\nline")
    parsed = read_docx(save(document), "a.docx")
    assert parsed.text == (
        "The ferry\n\nIt leaves at 7:45.\n\nPlace | Price\nHolm | harbour | 12 euros\n\nFirst\n\ntab\tand\nline"
    )
    assert parsed.metadata == {"title": "Holm"}


def test_what_python_docx_leaves_out_is_read_and_what_was_deleted_is_not() -> None:
    document = docx.Document()
    body = document.element.body
    xml = f"""<w:sdt {nsdecls("w")}><w:sdtPr><w:alias w:val="no"/></w:sdtPr><w:sdtContent><w:p>
        <w:ins w:author="a"><w:r><w:t xml:space="preserve">new </w:t></w:r></w:ins>
        <w:del w:author="a"><w:r><w:delText>old</w:delText></w:r></w:del>
        <w:sdt><w:sdtContent><w:r><w:t>choice</w:t></w:r></w:sdtContent></w:sdt>
        <w:hyperlink><w:r><w:t xml:space="preserve"> link</w:t></w:r></w:hyperlink>
        <w:r><w:instrText>PAGE</w:instrText></w:r></w:p></w:sdtContent></w:sdt>"""
    box = f"""<w:p {nsdecls("w")} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><w:r>
        <mc:AlternateContent><mc:Choice Requires="wps"><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p>
        </w:txbxContent></mc:Choice><mc:Fallback><w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p>
        </w:txbxContent></mc:Fallback></mc:AlternateContent></w:r></w:p>"""
    body.insert(0, parse_xml(xml))
    body.insert(1, parse_xml(box))
    assert read_docx(save(document), "a.docx").text == "new choice link\n\nboxed"


def test_footnotes_follow_the_text() -> None:
    document = docx.Document()
    document.add_paragraph("Text.")
    notes = f"""<w:footnotes {nsdecls("w")}>
        <w:footnote w:type="separator" w:id="-1"><w:p><w:r><w:t>---</w:t></w:r></w:p></w:footnote>
        <w:footnote w:id="1"><w:p><w:r><w:t>Except on Sundays.</w:t></w:r></w:p></w:footnote></w:footnotes>"""
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    part = Part(PackURI("/word/footnotes.xml"), kind, notes.encode(), document.part.package)
    document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
    assert read_docx(save(document), "a.docx").text == "Text.\n\nExcept on Sundays."


def test_a_document_without_text_is_empty() -> None:
    with pytest.raises(EmptyDocumentError, match=r"a\.docx holds no text"):
        read_docx(make_docx("", " "), "a.docx")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read as .docx"),
        (b"no word file", "cannot be read as .docx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "password, or is an old .doc"),
    ],
)
def test_what_is_no_word_file_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableFileError, match=rf"^b\.docx.*{reason}"):
        read_docx(data, "b.docx")


def test_a_zip_of_something_else_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as package:
        package.writestr("hello.txt", "hello")
    with pytest.raises(UnreadableFileError, match=r"cannot be read as \.docx"):
        read_docx(buffer.getvalue(), "b.docx")


@pytest.mark.parametrize("place", ["word/media/bomb", "word/other.xml"])
def test_a_zip_bomb_is_not_unpacked(place: str) -> None:
    buffer = io.BytesIO(make_docx("x"))
    with (
        zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as package,
        package.open(place, "w", force_zip64=True) as entry,
    ):
        for _ in range(33):
            entry.write(bytes(16 * 2**20))
    assert len(buffer.getvalue()) < 2**20
    if "media" in place:
        # Pictures are not read, and so not unpacked either.
        assert read_docx(buffer.getvalue(), "b.docx").text == "x"
        return
    with pytest.raises(UnreadableFileError, match="more than the 64 MiB"):
        read_docx(buffer.getvalue(), "b.docx")


def test_entities_of_the_xml_are_not_expanded() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(make_docx("x"))) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == "word/document.xml":
                doctype = b'<!DOCTYPE d [<!ENTITY f SYSTEM "file:///etc/hostname"><!ENTITY g "leaked">]><w:document'
                data = data.replace(b"<w:document", doctype, 1).replace(b">x<", b">x&f;&g;y<")
            new.writestr(entry, data)
    assert read_docx(buffer.getvalue(), "a.docx").text == "x"


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docx", None)
    with pytest.raises(MissingExtraError, match=r"python-docx.*\[files\]"):
        read_docx(b"", "a.docx")
