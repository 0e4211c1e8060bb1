"""A document: a text with an id, as the reader takes it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticSerializationError, to_jsonable_python

from rcc_integrations.errors import ConfigError


def digest_of(data: bytes) -> str:
    """Return the BLAKE2b-256 hash of some bytes as 64 hex digits."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


@dataclass(frozen=True)
class Document:
    """A text to compress, with the id by which answers cite it.

    Args:
        id: Id of the document in its collection, for example its path relative to the folder that was added.
        text: The whole text.
        digest: Hash of what the text was made from (the raw bytes of the file), by which an unchanged source is
            recognised without parsing it. If empty, it is the hash of the text's UTF-8 bytes.
        metadata: JSON values; documents from files have `source`, `kind` and, if known, `title`, `pages` and
            `encoding`.

    Raises:
        ConfigError: Id, text or digest is not a string, the text contains lone surrogates (no store could keep it), or
            the metadata is not JSON.
    """

    id: str
    text: str = field(repr=False)
    digest: str = ""
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("id", "text", "digest"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise ConfigError(f"A document's {name} must be a string, not {type(value).__name__}.")
        try:
            data = self.text.encode()
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"The text of document {self.id!r} holds a lone surrogate (U+{ord(self.text[error.start]):04X}) at "
                f"character {error.start}: decode it again, or replace it by U+FFFD."
            ) from error
        if not self.digest:
            object.__setattr__(self, "digest", digest_of(data))
        self._check_metadata()

    def _check_metadata(self) -> None:
        if not isinstance(self.metadata, dict) or not all(isinstance(key, str) for key in self.metadata):
            raise ConfigError(f"The metadata of document {self.id!r} must be a dict with strings as keys.")
        try:
            json.dumps(self.metadata, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"The metadata of document {self.id!r} must hold JSON values only (text, finite numbers, true, false, "
                f"null, lists, dicts): {error}."
            ) from error


def plain_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata as JSON holds them: dates, paths, enums and what else has a plain form become it.

    Raises:
        ConfigError: If a value has none.
    """
    try:
        made: dict[str, Any] = to_jsonable_python(dict(metadata), inf_nan_mode="constants", fallback=_number)
    except (PydanticSerializationError, UnicodeEncodeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"Metadata must hold values with a JSON form (text, numbers, dates, lists, dicts): {error}."
        ) from error
    return made


def _number(value: Any) -> Any:
    # Numbers and arrays of numpy.
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
