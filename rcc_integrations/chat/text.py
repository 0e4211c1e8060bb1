"""Texts as people and programs hand them over: halves of characters, long prompts, and what in them asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: What stands in front of a question in the prompts of frameworks and people.
_MARKER = re.compile(
    r"(?im)^[\s>*#<]*(?:follow[- ]?up (?:message|question|input)|user question|"
    r"(?:the )?original (?:query|question)(?: is as follows)?|question|query|user(?: input)?|input)"
    r"\s*[:>][>:*\s]*(\S.*)$"
)
_NO_QUESTION = re.compile(r"(?i)^(?:answer|response|context|thought|standalone question|refined answer)\b\W*$")
#: Words that begin an instruction.
_INSTRUCTION = re.compile(
    r"(?i)^\W*(?:given|using|use|answer|summari[sz]e|you are|below|here|context|read|extract|translate|write|classify|"
    r"based on|list|find|explain|describe|compare|tell|give|rewrite|please)\b"
)
#: Lines between the parts of a prompt.
_BREAK = re.compile(r"\n[ \t]*(?:[-=#*_~`]{3,}[ \t]*\n|\n)\s*")
#: What the parts of a prompt are told apart by: paragraphs, else lines, else sentences.
_BETWEEN = (_BREAK, re.compile(r"\n+"), re.compile(r"(?<=[.!?])\s+"))
#: A question longer than this is looked through for what asks.
_SHORT = 400
_MOST_HEAD = 64
_LEAST_WORDS = 5


@dataclass(frozen=True)
class SplitPrompt:
    """A long prompt in parts.

    Args:
        asking: What asks; it stays in clear.
        context: What is asked about.
    """

    asking: str
    context: str


def whole_characters(text: str) -> str:
    """Return a text that can be written as UTF-8: halves of a character are joined, single ones become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def split_prompt(text: str, limit: int, count: Callable[[str], int]) -> SplitPrompt | None:
    """Tell the part of a long prompt that asks from the context that it asks about.

    What asks stands at the end, where templates and people put it; an instruction at the beginning belongs to it. Parts
    are paragraphs; lines or sentences in a text that has none.

    Args:
        text: The prompt.
        limit: The most tokens of what asks.
        count: Returns the number of tokens of a text.

    Returns:
        The parts; `None` if the prompt cannot be told apart, or is too short for that to be worth it.
    """
    for between in _BETWEEN:
        pieces = _pieces(text, between)
        if len(pieces) < 2:
            continue
        first, last = 0, len(pieces) - 1
        while last > 1 and not _asks(text[pieces[last][0] : pieces[-1][1]]):
            last -= 1
        if count(text[pieces[last][0] :]) > limit:
            last = len(pieces) - 1
            if count(text[pieces[last][0] :]) > limit:
                continue
        head = text[pieces[0][0] : pieces[0][1]]
        if last > 1 and _instructs(head) and count(head) <= max(_MOST_HEAD, limit // 4):
            first = 1
        context = text[pieces[first][0] : pieces[last - 1][1]].strip()
        if count(context) <= limit // 2:
            continue
        asking = [head.strip()] if first else []
        return SplitPrompt("\n\n".join([*asking, text[pieces[last][0] :].strip()]), context)
    return None


def question_in(text: str) -> str:
    """Return the part of a prompt that asks; windows are chosen by it."""
    marked = [each.strip() for each in _MARKER.findall(text) if not _NO_QUESTION.match(each.strip())]
    if marked:
        return str(marked[-1])
    text = text.strip()
    if len(text) <= _SHORT:
        return text
    asking = [each.strip() for each in re.split(r"(?<=[.!?])\s+|\n+", text) if each.strip().endswith("?")]
    if asking:
        return asking[-1]
    pieces = _pieces(text, _BREAK)
    return text[pieces[-1][0] : pieces[-1][1]].strip() if pieces else text


def _asks(text: str) -> bool:
    return "?" in text or bool(_MARKER.search(text)) or len(text.split()) >= _LEAST_WORDS


def _instructs(text: str) -> bool:
    return text.rstrip().endswith(":") or "?" in text or bool(_INSTRUCTION.match(text) or _MARKER.search(text))


def _pieces(text: str, between: re.Pattern[str]) -> Sequence[tuple[int, int]]:
    """Return where the parts of a text begin and end that something stands between."""
    places, at = [], 0
    for each in between.finditer(text):
        places.append((at, each.start()))
        at = each.end()
    return [(start, end) for start, end in [*places, (at, len(text))] if text[start:end].strip()]
