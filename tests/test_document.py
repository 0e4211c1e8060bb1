from __future__ import annotations

import hashlib
import math
from typing import Any

import pytest

from rcc_integrations.document import Document, digest_of
from rcc_integrations.errors import ConfigError


def test_the_digest_is_that_of_the_text_unless_given() -> None:
    assert Document("a", "é").digest == digest_of("é".encode())
    assert Document("a", "é", "beef").digest == "beef"
    assert digest_of(b"x") == hashlib.blake2b(b"x", digest_size=32).hexdigest()


def test_documents_are_values() -> None:
    assert Document("a", "x", metadata={"n": 1}) == Document("a", "x", metadata={"n": 1})
    assert len({Document("a", "x", metadata={"n": [1]}), Document("a", "x", metadata={"n": [1]})}) == 1
    assert "long text" not in repr(Document("a", "long text"))


@pytest.mark.parametrize("field", ["id", "text", "digest"])
def test_what_is_no_string_is_refused(field: str) -> None:
    values: dict[str, Any] = {"id": "a", "text": "x", "digest": "", field: b"bytes"}
    with pytest.raises(ConfigError, match=f"{field} must be a string, not bytes"):
        Document(**values)


def test_a_lone_surrogate_is_named_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"'a' holds a lone surrogate \(U\+D83D\) at character 2"):
        Document("a", "ok\ud83d")


@pytest.mark.parametrize("metadata", [{"x": object()}, {"x": math.nan}, {"x": {1, 2}}, {"x": {b"a": 1}}, {1: "x"}, [1]])
def test_metadata_that_is_no_json_is_refused(metadata: Any) -> None:
    with pytest.raises(ConfigError, match="metadata of document 'a' must"):
        Document("a", "x", metadata=metadata)
