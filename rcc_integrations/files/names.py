"""Names that come from file systems: which can be ids, and how the others are shown."""

from __future__ import annotations

import unicodedata

_MAX_ID = 1024
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # what the store refuses in an id


def id_fault(identity: str) -> str:
    """Return why a path cannot be a document's id, or an empty string where it can.

    Args:
        identity: A relative path with ``/`` between its parts.
    """
    for character in identity:
        if unicodedata.category(character) in _UNPRINTABLE:
            what = (
                "bytes that are no UTF-8" if "\ud800" <= character <= "\udfff" else "a control character or line break"
            )
            return f"its name holds {what}: rename it"
    if not identity.strip() or len(identity) > _MAX_ID:
        return f"its path cannot be a document id, which has 1 to {_MAX_ID} characters: rename it"
    return ""


def printable(name: str) -> str:
    r"""Return a name with undecodable bytes and control characters as ``\x..``, safe for a terminal or a file.

    Args:
        name: A path as Python gives it.
    """
    return "".join(map(_shown, name))


def _shown(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that it could not decode
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in _UNPRINTABLE:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return character
