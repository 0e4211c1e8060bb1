"""Cutting a document into windows.

Windows are anchored in the text itself: where a cut falls depends on the words before it, not on how far it is from
the document's start. A text longer than a window is cut at the boundary of highest priority, and each side again
until all fit; the priority of a boundary is the number of leading zero bits in a hash of the few characters before
it, one more at the end of a paragraph, and of equals the one nearest the middle is taken. An edit then moves only cuts
beside it. (The shape of a skip list over the text's boundaries: the locality of content-defined chunking without its
need to get back in step. The price is that windows are a little over half full.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash

_PARAGRAPH = re.compile(r"\n[ \t]*\n\s*")
_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*(?=\s)|[。！？]|\n")
_WORD = re.compile(r"\w+\b|\s+")
#: How far behind a boundary the text is looked at. Short, so that an edit in mid-sentence moves no boundary.
_CONTEXT = 24


@dataclass(frozen=True)
class Window:
    """A run of tokens of one document, encoded on its own.

    Args:
        start: First character of its span in the document's text.
        end: Character behind the span.
        ids: Its token ids.
    """

    start: int
    end: int
    ids: tuple[int, ...]


def cut_windows(text: str, tokenizer: Any, limit: int) -> list[Window]:
    """Cut a text into windows of at most `limit` tokens that together cover all of its tokens.

    Args:
        text: The document. Special tokens written out in it are read as plain text.
        tokenizer: A fast tokenizer of transformers.
        limit: The longest window, in tokens.

    Returns:
        Windows in order; none for a text without tokens.
    """
    ids, offsets = _tokens(text, tokenizer)
    if not ids:
        return []
    starts = np.asarray([start for start, _ in offsets])
    ends = np.asarray([end for _, end in offsets])
    spans = _split(text, starts, ends, limit)
    return [Window(int(starts[a]), int(ends[b - 1]), ids[a:b]) for a, b in spans]


def _tokens(text: str, tokenizer: Any) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    """Return token ids and the span of characters of each."""
    encoded = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True, verbose=False
    )
    return tuple(encoded["input_ids"]), encoded["offset_mapping"]


def _split(text: str, starts: np.ndarray, ends: np.ndarray, limit: int) -> list[tuple[int, int]]:
    tokens = len(starts)
    # Several tokens may share one character; a window must not end inside it.
    whole = np.ones(tokens + 1, dtype=bool)
    whole[1:tokens] = starts[1:] >= np.maximum.accumulate(ends)[:-1]
    marks = dict.fromkeys((match.end() for match in _SENTENCE.finditer(text)), 0)
    marks |= dict.fromkeys((match.end() for match in _PARAGRAPH.finditer(text)), 1)
    strong = _boundaries(text, starts, whole, marks, 0, tokens)
    spans: list[tuple[int, int]] = []
    waiting = [(0, tokens)]
    while waiting:
        first, last = waiting.pop()
        if last - first <= limit:
            spans.append((first, last))
            continue
        cut = _best(strong, first, last)
        if cut is None:
            # No part of it has such a boundary either: all of it is cut at once.
            spans += _split_words(text, starts, ends, whole, first, last, limit)
        else:
            waiting += [(cut, last), (first, cut)]
    return spans


def _split_words(
    text: str, starts: np.ndarray, ends: np.ndarray, whole: np.ndarray, first: int, last: int, limit: int
) -> list[tuple[int, int]]:
    """Cut a stretch that has neither sentence ends nor line breaks: at words, then anywhere."""
    found = _WORD.finditer(text, int(starts[first]), int(ends[last - 1]))
    words = _boundaries(text, starts, whole, dict.fromkeys((match.end() for match in found), 0), first, last)
    spans: list[tuple[int, int]] = []
    waiting = [(first, last)]
    while waiting:
        first, last = waiting.pop()
        cut = _best(words, first, last) if last - first > limit else None
        if cut is not None:
            waiting += [(cut, last), (first, cut)]
            continue
        while last - first > limit:
            cut = _plain_cut(whole, first, last, limit)
            spans.append((first, cut))
            first = cut
        spans.append((first, last))
    return spans


_Boundaries = tuple[np.ndarray, np.ndarray]


def _boundaries(
    text: str, starts: np.ndarray, whole: np.ndarray, marks: dict[int, int], first: int, last: int
) -> _Boundaries:
    """Return token positions, ascending, at which text may be cut, and their priorities."""
    found: dict[int, int] = {}
    for place, bonus in sorted(marks.items()):
        token = int(np.searchsorted(starts, place))
        if first < token < last and whole[token]:
            context = text[max(0, place - _CONTEXT) : place].rstrip()
            digest = xxhash.xxh64_intdigest(context.encode())
            found[token] = max(found.get(token, 0), 64 - digest.bit_length() + bonus)
    return np.asarray(list(found), dtype=np.int64), np.asarray(list(found.values()))


def _best(boundaries: _Boundaries, first: int, last: int) -> int | None:
    """Return the boundary of highest priority strictly inside a span; of equals, the one nearest the middle."""
    positions, priorities = boundaries
    low, high = np.searchsorted(positions, [first + 1, last])
    if low == high:
        return None
    inside = priorities[low:high]
    equal = positions[low:high][inside == inside.max()]
    return int(equal[np.abs(equal - (first + last) / 2).argmin()])


def _plain_cut(whole: np.ndarray, first: int, last: int, limit: int) -> int:
    """Cut text without any boundary after `limit` tokens, or before the character that lies there."""
    cut = first + limit
    while cut > first + 1 and not whole[cut]:
        cut -= 1
    return cut


def fill_published(windows_of: int, ids: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Fill a text to whole windows as the released RCC code does.

    Up to one window: the text is repeated as often as it fits whole, and its end is put in front for the rest.
    Longer: the text's end is put in front so that all windows are full. Two faults of the released code are not
    kept: token ids are never multiplied (a length that divides the window), and no extra window is put in front of
    a text that fills its windows exactly.

    Args:
        windows_of: Tokens a window, 2048 in the released checkpoint.
        ids: The text's tokens, at least one.

    Returns:
        Windows of exactly `windows_of` tokens.
    """
    missing = -len(ids) % windows_of
    if len(ids) < windows_of:
        repeated = ids * (windows_of // len(ids))
        missing = windows_of - len(repeated)
        ids = ids + repeated[len(ids) :]
    filled = ids[len(ids) - missing :] + ids if missing else ids
    return [filled[at : at + windows_of] for at in range(0, len(filled), windows_of)]


def published_windows(text: str, tokenizer: Any, limit: int) -> list[Window]:
    """Cut a text into windows filled as the released RCC code fills them.

    A window's span covers the part of the text that it brings in order; what was put in front belongs to none.

    Args:
        text: The document.
        tokenizer: A fast tokenizer of transformers.
        limit: Tokens a window.

    Returns:
        Windows in order; none for a text without tokens.
    """
    ids, offsets = _tokens(text, tokenizer)
    if not ids:
        return []
    filled = fill_published(limit, ids)
    front = len(filled) * limit - len(ids) if len(ids) > limit else 0
    windows = []
    for number, window in enumerate(filled):
        first = max(number * limit - front, 0)
        last = min((number + 1) * limit - front, len(ids))
        if len(ids) <= limit:
            first, last = 0, len(ids)
        windows.append(Window(offsets[first][0], offsets[last - 1][1], window))
    return windows
