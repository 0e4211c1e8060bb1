"""How a question is answered over several groups of windows, without saying how answers are waited for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from llama_index.core.base.llms.types import ChatMessage

from rcc_integrations.llamaindex.prompts import Templates
from rcc_integrations.reader.answer import Answer

#: What to do if not all windows fit; see `RCCQueryEngine`.
MODES = ("compact", "tree_summarize", "refine", "accumulate")
#: Modes of LlamaIndex that come to one of them.
SAME = {"simple_summarize": "compact", "compact_accumulate": "accumulate"}

#: Answers that are combined at once.
_TOGETHER = 8


@dataclass(frozen=True)
class Ask:
    """Something to ask.

    Args:
        messages: What is asked.
        windows: Keys of the windows to answer from; chosen by the question if not given.
        memory: Whether there is memory at all; without, everything is in the words.
    """

    messages: list[ChatMessage]
    windows: frozenset[str] | None = None
    memory: bool = True


#: Yields what can be asked at the same time, is sent the answers, returns the answer in the end.
Synthesis = Generator[list[Ask], list[Answer], str]


def synthesis(mode: str, question: str, pages: Sequence[frozenset[str] | None], templates: Templates) -> Synthesis:
    """Answer a question.

    Args:
        mode: One of `MODES`.
        question: The question.
        pages: Groups of windows, as keys; `None` for those that are chosen by the question.
        templates: The words.
    """
    if mode == "refine":
        (answer,) = yield [Ask(templates.asked(question), pages[0])]
        for windows in pages[1:]:
            (answer,) = yield [Ask(templates.refining(question, answer.text), windows)]
        return answer.text
    texts = [answer.text for answer in (yield [Ask(templates.asked(question), windows) for windows in pages])]
    while mode == "tree_summarize" and len(texts) > 1:
        groups = [texts[at : at + _TOGETHER] for at in range(0, len(texts), _TOGETHER)]
        asks = [Ask(templates.combining(question, group), memory=False) for group in groups]
        texts = [answer.text for answer in (yield asks)]
    return "\n---\n".join(texts)
