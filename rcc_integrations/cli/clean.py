"""Text from documents, ids and answers in a form that is safe to show on a terminal."""

from __future__ import annotations

import re

#: Control characters but tab and line break, changes of writing direction, and lone surrogates.
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Return text with every character replaced by `U+FFFD` that a terminal could take for a command.

    Args:
        text: Any text.
    """
    return _UNSAFE.sub("\ufffd", text)


def one_line(text: object, width: int | None = None) -> str:
    """Return text in a single line that is safe to show.

    Args:
        text: Anything with a string form.
        width: The most characters; what is longer ends in `…`.
    """
    line = clean(" ".join(str(text).split()))
    return line if width is None or len(line) <= width else line[: max(width - 1, 0)].rstrip() + "…"


def escape_json(text: str) -> str:
    r"""Return JSON text with the characters escaped (`\uXXXX`) that `clean` would replace; its value stays the same.

    Args:
        text: What `json.dumps` gave; line breaks between its parts stay.
    """
    return _UNSAFE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
