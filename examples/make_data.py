"""Makes the PDF and the Word file of the example documents from the text in this script.

Run it as ``python examples/make_data.py [FOLDER]``; it needs fpdf2 and python-docx. The bytes are the same each time
with the same versions of the two libraries.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import docx
from fpdf import FPDF

MADE = datetime(2026, 1, 1, tzinfo=UTC)

GUESTHOUSE = """# The Gannet guesthouse
The Gannet is the only guesthouse on Holm. It has 14 rooms and stands above the harbour. Vera Moss owns the \
guesthouse. Her son Felix runs the kitchen.
# Rooms and prices
A single room costs 70 euros a night. A double room costs 110 euros a night. Breakfast is included and is served from \
7 to 9:30. A dog costs 8 euros a night. From November to February all rooms cost 20 euros less.
# Arrival
Rooms are ready at 15. Guests leave their rooms by 10:30. Guests who arrive after 21 find the key in the blue box \
beside the door. A booking can be cancelled free of charge up to three days before arrival.
# Dinner
Dinner is served from 18 to 20:30. The house dish is smoked mackerel with rye bread. Guests with allergies tell the \
kitchen before noon.
# House rules
Smoking is not allowed in the house. The sauna is open from 16 to 21 and costs 9 euros. Quiet hours begin at 22."""

COUNCIL = """# The island council
The council of Holm has nine members. The mayor is Clara Wendt. Her deputy is Simon Aker. The council meets on the \
first Monday of the month at 18 in the town hall. Meetings are open to everyone.
# Offices
The town hall is open from 8 to 16 and is closed on Wednesdays. Jonas Reet is the treasurer. Dora Finch is the clerk \
and keeps the register of residents. New residents register within 14 days.
# Fees
| Paper | Fee | Time |
| Passport | 60 euros | three weeks |
| Fishing permit | 25 euros | two days |
| Building permit | 180 euros | six weeks |
# Building
No house on Holm may be higher than 9 metres. Building permits are granted by the planning board. The chair of the \
planning board is Hugo Stern. Complaints must be sent to the clerk within 21 days.
# Elections
The council is elected every four years. The next election is in May 2027. Everyone aged 16 or more may vote."""


def lines(text: str) -> Iterator[tuple[str, str]]:
    """Yield each line with its sort: "heading", "row" or "paragraph"."""
    for line in text.splitlines():
        if line.startswith("# "):
            yield "heading", line[2:]
        elif line.startswith("| "):
            yield "row", line
        else:
            yield "paragraph", line


def make_pdf(text: str, path: Path) -> None:
    """Write text as a PDF."""
    pdf = FPDF()
    pdf.set_creation_date(MADE)
    pdf.set_title(next(lines(text))[1])
    pdf.add_page()
    for sort, line in lines(text):
        pdf.set_font("Helvetica", style="B" if sort == "heading" else "", size=14 if sort == "heading" else 11)
        pdf.multi_cell(0, 7, line, new_x="LMARGIN", new_y="NEXT")
        pdf.ln(2)
    path.write_bytes(bytes(pdf.output()))


def make_docx(text: str, path: Path) -> None:
    """Write text as a Word file, its rows as a table."""
    document = docx.Document()
    document.core_properties.title = next(lines(text))[1]
    table = None
    for sort, line in lines(text):
        if sort == "row":
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            table = table or document.add_table(rows=0, cols=len(cells))
            for cell, content in zip(table.add_row().cells, cells, strict=True):
                cell.text = content
        elif sort == "heading":
            table = None
            document.add_heading(line, level=1)
        else:
            document.add_paragraph(line)
    buffer = io.BytesIO()
    document.save(buffer)
    with zipfile.ZipFile(buffer) as made, zipfile.ZipFile(path, "w") as package:
        for name in made.namelist():
            # A fixed date, where python-docx writes the time of day: equal text gives equal bytes.
            entry = zipfile.ZipInfo(name, MADE.timetuple()[:6])
            package.writestr(entry, made.read(name), zipfile.ZIP_DEFLATED)


def main(folder: Path) -> None:
    """Write both files into a folder."""
    make_pdf(GUESTHOUSE, folder / "guesthouse.pdf")
    make_docx(COUNCIL, folder / "council.docx")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
