"""Documents that would take all time and memory are given up, and the next one is read."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rcc_integrations.errors import EmptyDocumentError, UnreadableFileError
from rcc_integrations.files import parsing
from rcc_integrations.files.parsing import Parser, parse
from rcc_integrations.files.read_docx import read_docx
from tests.files.makers import make_docx, make_pdf

#: Tables in tables: every row is searched for those within.
SLOW = b"<table><tr><td>" * 20_000
PAGE = b"<html><head><title>T</title></head><body><p>The ferry leaves at 7:45.</p></body></html>"


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    parser = Parser(memory=1 << 30, seconds=lambda size: 3.0)
    yield parser
    parser.close()


def works(parser: Parser) -> None:
    assert parser.parse("html", PAGE, "page").text == "The ferry leaves at 7:45."


def test_what_comes_back_is_what_the_reader_gives(parser: Parser) -> None:
    from rcc_integrations.files.kinds import KINDS

    for kind, data in (
        ("html", PAGE),
        ("pdf", make_pdf(["The ferry leaves at 7:45."] * 2, title="Tü")),
        ("docx", make_docx("The ferry 😀 leaves.", "A ticket costs 12 euros.", title="T")),
    ):
        assert parser.parse(kind, data, "name") == KINDS[kind](data, "name")


def test_errors_of_readers_come_back_as_they_are(parser: Parser) -> None:
    with pytest.raises(UnreadableFileError, match=r"^broken cannot be read as PDF"):
        parser.parse("pdf", b"%PDF-1.4 nothing", "broken")
    with pytest.raises(EmptyDocumentError, match=r"^empty holds no text"):
        parser.parse("html", b"<p></p>", "empty")
    works(parser)


def test_one_process_serves_all_documents_and_plain_text_needs_none(parser: Parser) -> None:
    works(parser)
    first = parser._process
    works(parser)
    assert parser._process is first
    before = parsing._parser._process
    assert parse("text", b"plain", "a.txt").text == "plain" and parsing._parser._process is before


def test_what_takes_too_long_is_given_up(parser: Parser) -> None:
    with pytest.raises(UnreadableFileError, match="more than the 3 seconds"):
        parser.parse("html", SLOW, "tags")
    works(parser)


def word_bomb(size: int) -> bytes:
    """A Word document of few bytes with a very long text."""
    document = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(make_docx("x"))) as good,
        zipfile.ZipFile(document, "w", zipfile.ZIP_DEFLATED) as bad,
    ):
        for entry in good.infolist():
            data = good.read(entry)
            if entry.filename == "word/document.xml":
                data = data.replace(b"</w:body>", b"<w:p><w:r><w:t>a</w:t></w:r></w:p>" * (size // 34) + b"</w:body>")
            bad.writestr(entry.filename, data)
    return document.getvalue()


def lying(data: bytes) -> bytes:
    """The same package with a directory that tells of parts of few bytes."""
    changed = bytearray(data)
    at = 0
    while (at := changed.find(b"PK\x01\x02", at)) >= 0:
        changed[at + 24 : at + 28] = (1000).to_bytes(4, "little")
        at += 4
    return bytes(changed)


def test_a_word_bomb_is_refused_whatever_its_directory_says() -> None:
    with pytest.raises(UnreadableFileError, match="64 MiB"):
        read_docx(word_bomb(70 << 20), "bomb")
    with pytest.raises(UnreadableFileError, match=r"cannot be read as \.docx"):
        read_docx(lying(word_bomb(70 << 20)), "lying")


def test_what_takes_too_much_memory_is_given_up() -> None:
    parser = Parser(memory=60 << 20, seconds=lambda size: 120.0)
    with pytest.raises(UnreadableFileError, match=r"60 MiB|signal"):
        parser.parse("docx", word_bomb(30 << 20), "bomb")
    works(parser)
    parser.close()


def test_a_process_that_is_killed_fails_its_document_alone(parser: Parser) -> None:
    """As the kernel does it when memory runs out."""
    works(parser)
    assert parser._process is not None
    process = parser._process.pid
    timer = threading.Timer(0.3, os.kill, (process, signal.SIGKILL))
    timer.start()
    with pytest.raises(UnreadableFileError, match="signal 9, as when memory runs out"):
        parser.parse("html", SLOW, "tags")
    timer.join()
    works(parser)
    # Between two documents nobody notices.
    assert parser._process is not None
    parser._process.kill()
    parser._process.wait()
    works(parser)


def test_nothing_is_imported_from_where_one_stands(tmp_path: Path) -> None:
    (tmp_path / "bs4.py").write_text("open('taken', 'w')\n")
    (tmp_path / "json.py").write_text("open('taken', 'w')\n")
    (tmp_path / "page.html").write_bytes(PAGE)
    code = "from rcc_integrations.files import find_files\nprint(find_files(['page.html'])[0][0].read().text)\n"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, env=_environment()
    )
    assert done.stdout.strip() == "The ferry leaves at 7:45." and not (tmp_path / "taken").exists()


def test_a_script_without_a_main_guard_reads_a_document_once(tmp_path: Path) -> None:
    """As on systems that start processes by importing the script again."""
    (tmp_path / "page.html").write_bytes(PAGE)
    script = tmp_path / "script.py"
    script.write_text(
        "print('run')\nfrom rcc_integrations.files import find_files\nfind_files('page.html')[0][0].read()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True, env=_environment()
    )
    assert done.stdout == "run\n" and done.stderr == ""


def _environment() -> dict[str, str]:
    import rcc_integrations

    return {**os.environ, "PYTHONPATH": str(Path(rcc_integrations.__file__).parents[1])}
