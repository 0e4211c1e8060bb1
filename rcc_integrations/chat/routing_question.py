"""By which text the windows of a conversation are chosen."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rcc_integrations.chat.text import question_in
from rcc_integrations.routing.word_router import WORD, is_stop_word

#: Earlier questions that stay in the running.
_BEHIND = 2
#: What begins a question that leans on what was said before.
_LEANING = re.compile(r"(?i)^\W*(?:and|but|so|or|then|also|what about|how about|why|really|go on|more|yes|no)\b")
_POINTING = {"it", "its", "they", "them", "their", "he", "him", "his", "she", "her", "that", "this", "those", "these",
             "there", "one", "ones", "same", "else"}  # fmt: skip
#: A question with fewer words of its own leans on those before it.
_OWN_WORDS = 2


def routing_question(said: Sequence[str]) -> str:
    """Return the text by which windows are chosen in a conversation.

    It is the last human question, with the one or two before it behind it, so that windows that were asked about stay
    in the running. A question that stands on its own counts twice as much as those; one that leans on them ("And what
    does it say?") as much. What tools and the model said is never in it.

    Args:
        said: What the human said, in order, each in the words that ask.
    """
    questions = [question for each in said if (question := question_in(each).strip())]
    if not questions:
        return ""
    *before, last = questions
    behind = list(dict.fromkeys(each for each in before[-_BEHIND:] if each != last))
    if not behind:
        return last
    if _leans(last):
        return "\n".join([*behind, last])
    return "\n".join([behind[-1], last, last])


def _leans(question: str) -> bool:
    words = WORD.findall(question.casefold())
    own = [word for word in words if not is_stop_word(word) and word not in _POINTING]
    return len(own) < _OWN_WORDS or bool(_LEANING.match(question)) or bool(_POINTING & set(words))
