from __future__ import annotations

from pathlib import Path

import pytest

from rcc_integrations.document import digest_of
from rcc_integrations.errors import EmptyDocumentError, UnreadableFileError
from rcc_integrations.files import READERS, SourceFile, find_files
from rcc_integrations.files.kinds import HEAD_BYTES, KINDS, kind_of
from tests.files.makers import make_docx, make_pdf

SENTENCE = "The ferry to Holm leaves at 7:45."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.md").write_text(f"# Ferry\n\n{SENTENCE}\n")
    (tmp_path / "b.html").write_text(f"<title>Ferry</title><p>{SENTENCE}")
    (tmp_path / "c.PDF").write_bytes(make_pdf([SENTENCE], title="Ferry"))
    (tmp_path / "d.docx").write_bytes(make_docx(SENTENCE, title="Ferry"))
    return tmp_path


def test_every_kind_gives_its_text_title_and_source(folder: Path) -> None:
    sources, skipped = find_files(folder)
    assert skipped == []
    assert [source.kind for source in sources] == list(KINDS)
    for source in sources:
        document = source.read()
        assert SENTENCE in document.text
        assert document.id == source.id
        assert document.metadata["title"] == "Ferry"
        assert document.metadata["kind"] == source.kind
        assert document.metadata["source"] == (folder / source.id).as_posix()
        assert document.digest == source.digest == digest_of((folder / source.id).read_bytes())


def test_the_digest_of_a_document_is_that_of_the_bytes_that_were_parsed(folder: Path) -> None:
    source = find_files(folder / "a.md")[0][0]
    before = source.digest
    (folder / "a.md").write_text("changed")
    assert source.digest == before
    document = source.read()
    assert document.text == "changed"
    assert document.digest == digest_of(b"changed") != before


def test_a_file_that_vanished_or_grew_is_refused(folder: Path) -> None:
    source = find_files(folder / "a.md", limit=100)[0][0]
    (folder / "a.md").write_text("x" * 101)
    with pytest.raises(UnreadableFileError, match="larger than the limit of 100 bytes"):
        source.read()
    (folder / "a.md").unlink()
    with pytest.raises(UnreadableFileError, match=r"a\.md cannot be read: No such file"):
        _ = source.digest


def test_text_that_turns_out_blank_is_an_empty_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf \n")
    with pytest.raises(EmptyDocumentError, match=r"a\.txt is empty"):
        find_files(tmp_path)[0][0].read()


def test_binary_data_after_the_first_bytes_is_found_when_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * HEAD_BYTES + b"\0")
    with pytest.raises(UnreadableFileError, match="NUL"):
        find_files(tmp_path)[0][0].read()


@pytest.mark.parametrize(
    ("name", "head", "kind"),
    [
        ("paper", b"%PDF-1.7 \0", "pdf"),
        ("paper.download", b"%PDF-1.7 \0", "pdf"),
        ("page", b"\xef\xbb\xbf\n<!DOCTYPE HTML>", "html"),
        ("page", b"<html lang=en>", "html"),
        ("page.jinja", b"<html lang=en>", "text"),
        ("Makefile", b"all:\n", "text"),
        ("a.txt", "é".encode("utf-16"), "text"),
        ("a.HTM", b"", "html"),
        ("a.bin", b"\0", ""),
        ("a.Doc", b"text", ""),
    ],
)
def test_kinds(name: str, head: bytes, kind: str) -> None:
    found, reason = kind_of(name, head)
    assert found == kind
    assert bool(reason) is not bool(kind)


def test_every_reader_is_the_reader_of_a_kind() -> None:
    assert set(READERS.values()) <= set(KINDS.values())


def test_a_source_is_a_value() -> None:
    assert SourceFile("a", Path("a"), "text", "a") == SourceFile("a", Path("a"), "text", "a")
