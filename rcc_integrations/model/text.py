"""Turning decoded tokens into an answer's text: stop strings, a marker in front, pieces that are safe to show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class TextCutter:
    """Cuts a growing text at the first stop string, wherever token boundaries fall.

    Text that may turn out to be the beginning of a stop string is held back until that is decided. White space around
    the whole text is left out.

    Args:
        stop: Strings that end the text; they are not part of it.
        marker: If given, the text begins behind its first occurrence; a text without it is taken whole.
    """

    def __init__(self, stop: Sequence[str], marker: str | None = None) -> None:
        self._stop = [text for text in stop if text]
        self._marker = marker
        self._held = ""
        self._begun = False
        self.stopped = False

    def feed(self, piece: str) -> str:
        """Take further text and return what can be shown of it."""
        if self.stopped:
            return ""
        self._held += piece
        if self._marker is not None:
            _, found, behind = self._held.partition(self._marker)
            if not found:
                return ""
            self._marker, self._held = None, behind
        return self._release(final=False)

    def finish(self) -> str:
        """Return the rest: no more text will come."""
        return "" if self.stopped else self._release(final=True)

    def _release(self, *, final: bool) -> str:
        if not self._begun:
            self._held = self._held.lstrip()
        # Of several, the one that is complete first counts, so that token boundaries never matter.
        found = [(at + len(text), at) for text in self._stop if (at := self._held.find(text)) >= 0]
        if found:
            self.stopped = True
            shown, self._held = self._held[: min(found)[1]].rstrip(), ""
            return shown
        keep = 0 if final else max((_overlap(self._held, text) for text in self._stop), default=0)
        cut = len(self._held[: len(self._held) - keep].rstrip())
        shown, self._held = self._held[:cut], self._held[cut:]
        self._begun = self._begun or bool(shown)
        return shown


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that `stop` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class Detokenizer:
    """Decodes a growing list of tokens piece by piece, holding back half characters.

    Args:
        tokenizer: A tokenizer of transformers.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0
        self._context = 0

    def feed(self, token: int) -> str:
        """Take a token and return the text that it completes."""
        self._ids.append(token)
        known = self._decode(self._ids[self._context : self._shown])
        text = self._decode(self._ids[self._context :])
        if text.endswith("\ufffd") or len(text) <= len(known):
            return ""
        self._context, self._shown = self._shown, len(self._ids)
        return text[len(known) :]

    def finish(self) -> str:
        """Return what is left, replacement characters included."""
        known = self._decode(self._ids[self._context : self._shown])
        text = self._decode(self._ids[self._context :])
        self._context = self._shown = len(self._ids)
        return text[len(known) :]

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text
