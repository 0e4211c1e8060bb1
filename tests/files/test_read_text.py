from __future__ import annotations

from rcc_integrations.files.read_text import read_text


def test_text_is_kept_as_the_author_laid_it_out() -> None:
    text = "  a, b\n\n\n\n1,  2  \n\tend\n"
    parsed = read_text(text.replace("\n", "\r\n").encode("utf-8-sig"), "table.csv")
    assert parsed.text == text
    assert parsed.metadata == {}


def test_a_guessed_encoding_is_said() -> None:
    parsed = read_text("Où est la bibliothèque, à Zürich ?".encode("latin-1"), "a.txt")
    assert parsed.metadata == {"encoding": "cp1252"}


def test_markdown_gives_its_title() -> None:
    assert read_text(b"\n# The ferry #\n\ntext", "A.MD").metadata == {"title": "The ferry"}
    assert read_text(b"# a comment\n", "a.py").metadata == {}
    assert read_text(b"text\n# later\n", "a.md").metadata == {}
    assert read_text(b"#\n\ntext", "a.md").metadata == {}
