"""The text of a Word document's XML.

python-docx's own `Paragraph.text` leaves out tracked insertions, content controls and text boxes, so that text would
go missing silently; the XML is therefore walked here.
"""

from __future__ import annotations

from typing import Any

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
# Deleted text, field codes, and the older twin that Word writes beside a text box.
_DROPPED = frozenset(
    f"{_W}{name}"
    for name in ("del", "moveFrom", "delText", "instrText", "pPr", "rPr", "sdtPr", "tblPr", "trPr", "tcPr")
) | {"{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"}
_MARKS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
# Word keeps the lines that separate notes from the page in the same part as the notes.
_SEPARATORS = ("separator", "continuationSeparator", "continuationNotice")


def blocks(parent: Any) -> list[str]:
    """Return the text of each paragraph and table below an element, in document order, empty ones left out.

    Args:
        parent: An lxml element that holds block content: a body, a cell, a list of notes.
    """
    found: list[str] = []
    for child in parent:
        if child.tag in _DROPPED or child.get(f"{_W}type") in _SEPARATORS:
            continue
        if child.tag == f"{_W}p":
            found.append(_paragraph(child))
        elif child.tag == f"{_W}tbl":
            found.append("\n".join(_row(row) for row in _rows(child)))
        else:
            found.extend(blocks(child))
    return [text for text in found if text.strip()]


def _rows(table: Any) -> list[Any]:
    """Return a table's rows, those inside content controls too, but no row of a table in a cell."""
    rows: list[Any] = []
    for child in table:
        if child.tag == f"{_W}tr":
            rows.append(child)
        elif child.tag not in _DROPPED:
            rows.extend(_rows(child))
    return rows


def _cells(row: Any) -> list[Any]:
    cells: list[Any] = []
    for child in row:
        if child.tag == f"{_W}tc":
            cells.append(child)
        elif child.tag not in _DROPPED:
            cells.extend(_cells(child))
    return cells


def _row(row: Any) -> str:
    cells = (" ".join(" ".join(blocks(cell)).split()) for cell in _cells(row))
    return " | ".join(cells).strip(" |")


def _paragraph(element: Any) -> str:
    return "".join(_pieces(element)).strip()


def _pieces(element: Any) -> list[str]:
    pieces: list[str] = []
    for child in element:
        if child.tag in _DROPPED:
            continue
        if child.tag in (f"{_W}t", f"{_M}t"):
            pieces.append(child.text or "")
        elif child.tag in _MARKS:
            pieces.append(_MARKS[child.tag])
        elif child.tag == f"{_W}txbxContent":
            pieces += ["\n", *(f"{text}\n" for text in blocks(child))]
        else:
            pieces += _pieces(child)
    return pieces
