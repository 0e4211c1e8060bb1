"""Broken files of every kind end in the package's own errors, whatever the library makes of them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcc_integrations.errors import EmptyDocumentError, UnreadableFileError
from rcc_integrations.files.kinds import KINDS
from tests.files.makers import make_docx, make_pdf

PAGE = (
    b"<html><head><title>T</title></head><body><table><tr><td>a</td></tr></table><ul><li>b</ul>&eacute;</body></html>"
)
WHOLE = {
    "text": "The café opens at 9.\n".encode() * 9,
    "html": PAGE,
    "pdf": make_pdf(["The ferry leaves at 7:45."] * 2, title="T"),
    "docx": make_docx("The ferry leaves at 7:45.", "A ticket costs 12 euros.", title="T"),
}


def check(kind: str, data: bytes) -> None:
    try:
        parsed = KINDS[kind](data, "broken")
    except (UnreadableFileError, EmptyDocumentError) as error:
        assert str(error).startswith("broken ")
        return
    parsed.text.encode()
    assert "\0" not in parsed.text
    assert "\r" not in parsed.text


@pytest.mark.parametrize("kind", KINDS)
def test_cut_files(kind: str) -> None:
    whole = WHOLE[kind]
    for size in range(0, len(whole), max(1, len(whole) // 60)):
        check(kind, whole[:size])


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(kind: str) -> None:
    chance = random.Random(kind)
    for _ in range(60):
        data = bytearray(WHOLE[kind])
        for _ in range(chance.choice((1, 5, 40))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        check(kind, bytes(data))


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes(kind: str, data: bytes) -> None:
    check(kind, data)
    check(kind, WHOLE[kind][:20] + data)
