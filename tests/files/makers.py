"""Makes real PDF and Word files for the tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import docx
from fpdf import FPDF


def make_pdf(pages: Sequence[str], *, title: str = "", **encryption: Any) -> bytes:
    pdf = FPDF()
    pdf.set_font("Helvetica", size=12)
    if title:
        pdf.set_title(title)
    if encryption:
        pdf.set_encryption(**encryption)
    for text in pages:
        pdf.add_page()
        if text:
            pdf.multi_cell(0, 6, text)
        else:
            pdf.rect(20, 20, 50, 50, style="F")
    return bytes(pdf.output())


def save(document: Any) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def make_docx(*paragraphs: str, title: str = "") -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    for text in paragraphs:
        document.add_paragraph(text)
    return save(document)
