"""What a collection, a document and a blob may be called."""

from __future__ import annotations

import re
import unicodedata

from rcc_integrations.errors import InvalidNameError

MAX_COLLECTION_NAME = 128
MAX_DOCUMENT_ID = 1024

_KEY = re.compile(r"[0-9a-f]{64}")
_KINDS = {"Cc": "a control character", "Cs": "a lone surrogate", "Zl": "a line break", "Zp": "a line break"}


def check_collection_name(name: str) -> str:
    """Return a collection's name in NFC, the form in which names are compared and stored.

    Args:
        name: 1 to 128 characters; no control characters, no slash or backslash, no white space at either end, not
            `.` or `..`.

    Raises:
        InvalidNameError: The name breaks a rule; the message names the character and its place.
    """
    _check_characters(name, "A collection name")
    name = unicodedata.normalize("NFC", name)
    if not name.strip():
        raise InvalidNameError("A collection name must not be blank: give it at least one visible character.")
    if len(name) > MAX_COLLECTION_NAME:
        raise InvalidNameError(
            f"A collection name has at most {MAX_COLLECTION_NAME} characters, and {name[:40]!r}… has {len(name)}."
        )
    if name != name.strip():
        raise InvalidNameError(f"The collection name {name!r} has white space at its start or end: remove it.")
    if name in {".", ".."}:
        raise InvalidNameError(f"{name!r} cannot be a collection name: it means a folder.")
    for place, character in enumerate(name):
        if character in "/\\":
            raise InvalidNameError(
                f"The collection name {name!r} has {character!r} at position {place}: use '-' or '.' instead."
            )
    return name


def check_document_id(document: str) -> str:
    """Return a document's id unchanged, if it can be one.

    Ids are kept exactly as given, not normalised, since they often are paths and two files may differ in their
    normal form alone. They never become file names of the store, so `a/b.md` and even `../c.md` are harmless.

    Args:
        document: 1 to 1024 characters without control characters, not only white space.

    Raises:
        InvalidNameError: The id breaks a rule; the message names the character and its place.
    """
    _check_characters(document, "A document id")
    if not document.strip():
        raise InvalidNameError("A document id must not be blank: give it at least one visible character.")
    if len(document) > MAX_DOCUMENT_ID:
        raise InvalidNameError(
            f"A document id has at most {MAX_DOCUMENT_ID} characters, and {document[:40]!r}… has {len(document)}."
        )
    return document


def is_key(value: object) -> bool:
    """Tell whether a value is a blob or text key: 64 lower-case hexadecimal digits."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def check_key(key: str) -> str:
    """Return a blob or text key unchanged; called before a key becomes a path.

    Raises:
        InvalidNameError: It is not 64 lower-case hexadecimal digits.
    """
    if not is_key(key):
        raise InvalidNameError(f"A blob key is 64 lower-case hexadecimal digits, not {str(key)[:80]!r}.")
    return key


def _check_characters(name: str, what: str) -> None:
    if not isinstance(name, str):
        raise InvalidNameError(f"{what} must be a string, not {type(name).__name__}.")
    for place, character in enumerate(name):
        kind = _KINDS.get(unicodedata.category(character))
        if kind is not None:
            raise InvalidNameError(
                f"{what} must not contain {kind}: {character!a} (U+{ord(character):04X}) at position {place}."
            )
