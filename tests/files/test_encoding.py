from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcc_integrations.errors import MissingExtraError, UnreadableFileError
from rcc_integrations.files.encoding import decode, looks_binary
from rcc_integrations.files.parsed import clean, tidy, title_in

FRENCH = "Le café crème coûte 3 euros à Zürich. Où est la bibliothèque ? Élodie répond."


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_utf_encodings_are_read_exactly(encoding: str) -> None:
    text, found = decode(FRENCH.encode(encoding), "a.txt")
    assert text == FRENCH
    assert found == encoding.removesuffix("-sig")


def test_a_big_endian_mark_is_understood() -> None:
    assert decode(b"\xfe\xff" + FRENCH.encode("utf-16-be"), "a.txt")[0] == FRENCH


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        ("El señor Núñez vive en la península; ¿cuándo sale el barco?", "latin-1"),
        ("Färjan till ön går klockan åtta på morgonen.", "latin-1"),
        ("Fergen går klokka åtte. Køyr til øya, sjå på båtane.", "latin-1"),
        ("The ticket costs 12 € and “Ines” works there.", "cp1252"),
        ("Café", "latin-1"),
        ("Паром на остров отправляется в семь часов сорок пять минут утра.", "cp1251"),
        ("島へのフェリーは七時四十五分に出発します。図書館は九時に開きます。", "shift_jis"),
        ("渡轮七点四十五分开往岛上。图书馆九点开门。", "gb18030"),
        ("Prom na wyspę odpływa o siódmej. Książki są w bibliotece. Źródło ćwiczeń.", "cp1250"),
    ],
)
def test_legacy_encodings_are_recognised(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding), "a.txt")[0] == text


def test_a_declared_encoding_is_used_only_where_utf8_does_not_fit() -> None:
    assert decode("Pečivo".encode("iso8859-2"), "a.html", "iso-8859-2") == ("Pečivo", "iso-8859-2")
    assert decode("Pečivo".encode(), "a.html", "iso-8859-2") == ("Pečivo", "utf-8")
    assert decode("図書館".encode("iso2022_jp"), "a.html", "iso-2022-jp") == ("図書館", "iso-2022-jp")


@pytest.mark.parametrize("declared", ["no-such-encoding", "rot13", "base64", "hex", "zip", "undefined", "idna"])
def test_a_false_declaration_does_no_harm(declared: str) -> None:
    assert "caf" in decode("café crème à Zürich".encode("latin-1"), "a.html", declared)[0]


@pytest.mark.parametrize(
    "data", [b"a\0b", bytes(range(256)), b"\x01\x02\x03" * 9, b"\xff\xfe\x00\xd8a\x00", b"\xff\xfea\x00\x00\x00"]
)
def test_binary_data_is_refused_with_the_name(data: bytes) -> None:
    with pytest.raises(UnreadableFileError, match=r"^x\.dat is not text"):
        decode(data, "x.dat")


def test_a_log_with_terminal_colours_is_text() -> None:
    assert looks_binary(b"\x1b[31merror\x1b[0m\tdone\r\n" * 5) == ""


def test_without_charset_normalizer_utf8_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    assert decode("é".encode(), "a.txt") == ("é", "utf-8")
    with pytest.raises(MissingExtraError, match=r"a\.txt, which is not UTF-8.*charset-normalizer.*\[files\]"):
        decode("café".encode("latin-1"), "a.txt")


@given(st.binary(max_size=300))
def test_any_bytes_become_clean_text_or_the_named_error(data: bytes) -> None:
    try:
        text = clean(decode(data, "x")[0])
    except UnreadableFileError:
        return
    text.encode()
    assert "\0" not in text
    assert "\r" not in text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_utf8_text_comes_back_as_it_was(text: str) -> None:
    assert decode(b"\xef\xbb\xbf" + text.encode(), "x")[0] == text


def test_clean_keeps_characters_and_mends_what_no_store_can_hold() -> None:
    assert clean("a\r\nb\rc\0d") == "a\nb\ncd"
    assert clean("e\u0301 \u00e9") == "e\u0301 \u00e9"
    assert clean("\ud83d\ude00 \ud800x") == "\U0001f600 \ufffdx"


def test_tidy_and_title() -> None:
    assert tidy(" a  \n\n\n\n b\t\n") == "a\n\n b"
    assert title_in(" A\n title ") == {"title": "A title"}
    assert title_in(None) == title_in("  ") == {}
    assert len(title_in("x" * 999)["title"]) == 300
