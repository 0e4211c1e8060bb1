from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcc_integrations.errors import ConfigError, CorruptBlobError
from rcc_integrations.memory.texts import TextFolder, encode_text, key_of
from tests.memory.conftest import text_key


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_text_is_read_as_it_was(tmp_path: Path, text: str) -> None:
    texts = TextFolder(tmp_path / "texts")
    key = key_of(encode_text(text))
    assert key == text_key(text)
    texts.place(texts.write_temp(key, encode_text(text)), key)
    assert texts.load(key) == text


@pytest.mark.parametrize("data", [b"", b"hello worle", b"hello world\n"])
def test_a_changed_text_is_refused(tmp_path: Path, data: bytes) -> None:
    texts = TextFolder(tmp_path / "texts")
    key = text_key("hello world")
    texts.place(texts.write_temp(key, data), key)
    with pytest.raises(CorruptBlobError, match="does not match its name"):
        texts.load(key)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    texts = TextFolder(tmp_path / "texts")
    key = hashlib.blake2b(b"\xff", digest_size=32).hexdigest()
    texts.place(texts.write_temp(key, b"\xff"), key)
    with pytest.raises(CorruptBlobError, match="not UTF-8"):
        texts.load(key)


def test_a_lone_surrogate_is_refused_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"surrogate \(U\+DC80\) at position 2"):
        encode_text("ab\udc80")
