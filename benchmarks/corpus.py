"""A folder of real documents of mixed kinds, from what every Python installation carries.

Python's own manual (``pydoc_data``), the standard library's docstrings, and the descriptions and licences of installed
packages are written as text, Markdown, reStructuredText, HTML, PDF and Word. The same machine gives the same texts
each time. Run it as ``python -m benchmarks.corpus FOLDER``; it needs fpdf2 and python-docx.
"""

from __future__ import annotations

import argparse
import ast
import html
import io
import sys
import sysconfig
import tokenize
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import distributions
from itertools import zip_longest
from pathlib import Path

import docx
from fpdf import FPDF

MIN_CHARACTERS = 1_000
MAX_CHARACTERS = 19_900  # leaves room for a title below 20,000
CHARACTERS_PER_TOKEN = 4
SUFFIXES = (".md", ".txt", ".html", ".rst", ".pdf", ".docx")
MADE = datetime(2026, 1, 1, tzinfo=UTC)
Text = tuple[str, str]  # name, text


def manual() -> Iterator[Text]:
    """Yield the chapters of Python's language reference that ``help()`` shows."""
    from pydoc_data.topics import topics

    for name in sorted(topics):
        yield f"manual-{name.lower()}", topics[name]


def modules() -> Iterator[Text]:
    """Yield, for each module of the standard library, the docstrings of all that it defines."""
    folder = Path(sysconfig.get_path("stdlib"))
    for path in sorted(folder.glob("[a-z]*.py")):
        try:
            with tokenize.open(path) as file:
                tree = ast.parse(file.read())
        except (OSError, SyntaxError, UnicodeDecodeError):
            continue
        parts: list[str] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                title = f"{path.stem}.{node.name}" if not isinstance(node, ast.Module) else path.stem
                if text := ast.get_docstring(node):
                    parts.append(f"{title}\n\n{text}")
        yield f"module-{path.stem}", "\n\n".join(parts)


def packages() -> Iterator[Text]:
    """Yield the long description and the licence texts of each installed package."""
    installed = {str(item.metadata["Name"]).lower(): item for item in distributions() if item.metadata["Name"]}
    for name in sorted(installed):
        description = installed[name].metadata.get_payload()  # type: ignore[attr-defined]
        yield f"package-{name}", description if isinstance(description, str) else ""
        for file in sorted(installed[name].files or (), key=str):
            if "dist-info" in str(file) and file.name.upper().startswith(("LICEN", "COPYING", "NOTICE")):
                path = Path(str(file.locate()))
                if path.is_file():
                    yield f"licence-{name}", path.read_text(encoding="utf-8", errors="replace")


def texts() -> Iterator[Text]:
    """Yield texts of the right length from all origins in turn, each once; a long one is cut between paragraphs."""
    names: Counter[str] = Counter()
    seen: set[str] = set()
    for group in zip_longest(manual(), modules(), packages()):
        for item in group:
            if item is None:
                continue
            name, whole = item
            for text in pieces(whole):
                if text not in seen:
                    seen.add(text)
                    names[name] += 1
                    yield f"{name}-{names[name]}" if names[name] > 1 else name, text


def pieces(whole: str) -> Iterator[str]:
    """Cut a text at empty lines into pieces of the right length; what is too short or has no place to cut is left."""
    piece = ""
    for paragraph in [*whole.replace("\r\n", "\n").replace("\0", "").strip().split("\n\n"), None]:
        if paragraph is not None and len(piece) + len(paragraph) + 2 <= MAX_CHARACTERS:
            piece = f"{piece}\n\n{paragraph}" if piece else paragraph
            continue
        if MIN_CHARACTERS <= len(piece) <= MAX_CHARACTERS:
            yield piece.strip() + "\n"
        piece = paragraph or ""


def write(path: Path, name: str, text: str) -> None:
    """Write a text as the kind of document that the suffix says."""
    if path.suffix == ".html":
        body = "\n".join(f"<p>{html.escape(part)}</p>" for part in text.split("\n\n"))
        page = f"<!DOCTYPE html>\n<html><head><meta charset='utf-8'><title>{html.escape(name)}</title></head>"
        path.write_text(f"{page}<body><nav>Home</nav><h1>{html.escape(name)}</h1>\n{body}</body></html>\n", "utf-8")
    elif path.suffix == ".pdf":
        path.write_bytes(as_pdf(name, text))
    elif path.suffix == ".docx":
        path.write_bytes(as_docx(name, text))
    elif path.suffix == ".md":
        path.write_text(f"# {name}\n\n{text}", "utf-8")
    else:
        path.write_text(text, "utf-8")


def as_pdf(name: str, text: str) -> bytes:
    """Return text as a PDF of A4 pages."""
    pdf = FPDF()
    pdf.set_creation_date(MADE)
    pdf.set_title(name)
    pdf.add_page()
    pdf.set_font("Courier", size=8)
    pdf.multi_cell(0, 4, text, align="L")
    return bytes(pdf.output())


def as_docx(name: str, text: str) -> bytes:
    """Return text as a Word file."""
    document = docx.Document()
    document.core_properties.title = name
    document.add_heading(name, level=1)
    for part in text.split("\n\n"):
        document.add_paragraph("".join(character for character in part if character >= " " or character in "\n\t"))
    made, package = io.BytesIO(), io.BytesIO()
    document.save(made)
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(package, "w") as new:
        for entry in old.namelist():
            # A fixed date, where python-docx writes the time of day: equal text gives equal bytes.
            new.writestr(zipfile.ZipInfo(entry, MADE.timetuple()[:6]), old.read(entry), zipfile.ZIP_DEFLATED)
    return package.getvalue()


def write_odd(folder: Path) -> list[Path]:
    """Write the files that a careful reader must refuse, or must decode with care."""
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "binary.bin": bytes(range(256)) * 16,
        "empty.txt": b"",
        "latin1.txt": "Le café crème coûte 3 euros à Zürich. Où est la bibliothèque ?\n".encode("latin-1") * 30,
        "fake.pdf": b"This only calls itself a PDF.\n",
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return [folder / name for name in contents]


def build(folder: Path, *, min_files: int = 60, min_tokens_estimate: int = 110_000) -> list[Path]:
    """Write the corpus.

    Args:
        folder: Where to; made if it is not there. Its subfolder ``odd`` gets files that are broken on purpose.
        min_files: Readable documents at least.
        min_tokens_estimate: Tokens at least in the readable documents, at four characters a token.

    Returns:
        The readable documents, then those in ``odd``.

    Raises:
        FileExistsError: If the folder holds anything, which would become part of the corpus.
        RuntimeError: If this machine's installation carries too little text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: give a new folder.")
    written: list[Path] = []
    characters = 0
    for name, text in texts():
        if len(written) >= min_files and characters >= min_tokens_estimate * CHARACTERS_PER_TOKEN:
            break
        suffix = SUFFIXES[len(written) % len(SUFFIXES)]
        # The fonts that every PDF reader knows hold Latin-1 only.
        if suffix == ".pdf" and not all(" " <= character <= "~" or character in "\n\t" for character in text):
            suffix = ".txt"
        path = folder / f"{name}{suffix}"
        write(path, name, text)
        written.append(path)
        characters += len(text)
    else:
        raise RuntimeError(f"Only {len(written)} texts with {characters} characters were found on this machine.")
    return written + write_odd(folder / "odd")


def main(arguments: list[str]) -> None:
    """Build the corpus and print what it holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.corpus", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--min-files", type=int, default=60)
    parser.add_argument("--min-tokens", type=int, default=110_000)
    options = parser.parse_args(arguments)
    paths = build(options.folder, min_files=options.min_files, min_tokens_estimate=options.min_tokens)
    for suffix, count in sorted(Counter(path.suffix for path in paths).items()):
        print(f"{suffix:6} {count:4}")
    print(f"{len(paths)} files, {sum(path.stat().st_size for path in paths)} bytes in {options.folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
