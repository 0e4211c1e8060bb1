from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcc_integrations.errors import InvalidNameError
from rcc_integrations.memory.names import check_collection_name, check_document_id, check_key, is_key


@pytest.mark.parametrize("name", ["a", "Notes 2024", "münchen", "x" * 128, "a.b", "...", "日本語", "🙂"])
def test_good_names_stay(name: str) -> None:
    assert check_collection_name(name) == name


def test_two_forms_of_one_name_are_one() -> None:
    assert check_collection_name("cafe\u0301") == check_collection_name("caf\u00e9") == "caf\u00e9"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "blank"),
        ("   ", "blank"),
        (" a", "white space"),
        ("a\u3000", "white space"),
        ("x" * 129, "128"),
        (".", "folder"),
        ("..", "folder"),
        ("a/b", "'/' at position 1"),
        ("ab\\c", "position 2"),
        ("a\x00b", r"U\+0000.*position 1"),
        ("a\nb", r"U\+000A"),
        ("a\ud800", r"lone surrogate.*U\+D800.*position 1"),
        ("a\u2028b", "line break"),
        (7, "not int"),
    ],
)
def test_bad_collection_names_are_refused_with_the_reason(name: str, message: str) -> None:
    with pytest.raises(InvalidNameError, match=message):
        check_collection_name(name)


@pytest.mark.parametrize("document", ["a/b.md", "../../etc/passwd", "C:\\x", " lead", "cafe\u0301", "x" * 1024])
def test_document_ids_stay_as_they_are(document: str) -> None:
    assert check_document_id(document) == document


@pytest.mark.parametrize("document", ["", "\t", " ", "x" * 1025, "a\x7f", "a\udfff", "a\x85b", None])
def test_bad_document_ids_are_refused(document: str) -> None:
    with pytest.raises(InvalidNameError):
        check_document_id(document)


@given(st.text(max_size=200))
def test_an_accepted_name_is_normal_and_accepted_again(name: str) -> None:
    try:
        good = check_collection_name(name)
    except InvalidNameError:
        return
    assert good == unicodedata.normalize("NFC", good) == check_collection_name(good)
    assert good.encode() and not set(good) & set("/\\\0\n")


@given(st.text(alphabet="0123456789abcdefABCDEFg\n/", min_size=62, max_size=66))
def test_only_64_lower_case_hexadecimal_digits_are_keys(key: str) -> None:
    good = len(key) == 64 and all(character in "0123456789abcdef" for character in key)
    assert is_key(key) is good
    if not good:
        with pytest.raises(InvalidNameError, match="64 lower-case"):
            check_key(key)
