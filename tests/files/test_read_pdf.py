from __future__ import annotations

import sys

import pytest

from rcc_integrations.errors import MissingExtraError, UnreadableFileError
from rcc_integrations.files.read_pdf import read_pdf
from tests.files.makers import make_pdf


def test_pages_are_read_in_order_with_an_empty_line_between() -> None:
    parsed = read_pdf(make_pdf(["The ferry leaves at 7:45.", "A ticket costs 12 euros."], title="Holm"), "a.pdf")
    assert parsed.text == "The ferry leaves at 7:45.\n\nA ticket costs 12 euros."
    assert parsed.metadata == {"pages": 2, "title": "Holm"}


def test_pages_without_text_are_named() -> None:
    parsed = read_pdf(make_pdf(["one", "", "three", ""]), "a.pdf")
    assert parsed.text == "one\n\nthree"
    assert parsed.metadata == {"pages": 4, "pages_without_text": [2, 4]}


def test_a_file_of_pictures_is_refused_with_a_way_out() -> None:
    with pytest.raises(UnreadableFileError, match=r"scan\.pdf has 2 page\(s\) but no text layer.*ocrmypdf"):
        read_pdf(make_pdf(["", ""]), "scan.pdf")


def test_a_password_is_asked_for() -> None:
    with pytest.raises(UnreadableFileError, match="needs a password"):
        read_pdf(make_pdf(["secret"], owner_password="a", user_password="b"), "a.pdf")


def test_encryption_without_a_password_to_open_is_no_obstacle() -> None:
    assert read_pdf(make_pdf(["public"], owner_password="a"), "a.pdf").text == "public"


@pytest.mark.parametrize(
    "data", [b"", b"no pdf", b"%PDF-1.7\n", b"%PDF-1.4\ntrailer<</Root 1 0 R>>\nstartxref\n9\n%%EOF"]
)
def test_a_broken_file_is_refused_with_its_name(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnreadableFileError, match=r"^b\.pdf (cannot be read as PDF|has 0 page)"):
        read_pdf(data, "b.pdf")
    assert capfd.readouterr() == ("", "")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(MissingExtraError, match=r"a\.pdf.*pypdf.*\[files\]"):
        read_pdf(b"", "a.pdf")
