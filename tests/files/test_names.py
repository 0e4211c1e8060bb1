from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcc_integrations.errors import InvalidNameError
from rcc_integrations.files.names import id_fault, printable
from rcc_integrations.memory.names import check_document_id


@given(st.text(st.characters()) | st.text(max_size=3).map(lambda text: text * 500))
def test_what_the_finder_takes_as_an_id_the_store_takes_too(name: str) -> None:
    try:
        check_document_id(name)
    except InvalidNameError:
        assert id_fault(name)
    else:
        assert id_fault(name) == ""


@given(st.text(st.characters()))
def test_a_printable_name_is_one_line_of_valid_text(name: str) -> None:
    shown = printable(name)
    shown.encode()
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("é.md", "é.md"),
        ("a\x1b[0m", r"a\x1b[0m"),
        ("a\udce9", r"a\xe9"),
        ("a\u2028", r"a\u2028"),
        ("\ud800", r"\ud800"),
    ],
)
def test_how_names_are_shown(name: str, shown: str) -> None:
    assert printable(name) == shown
