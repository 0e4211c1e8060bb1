"""How a question is answered over several groups of windows, without saying how answers are waited for."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from rcc_integrations.reader.answer import Answer

#: What to do if not all windows fit; see `RCCQueryEngine`.
MODES = ("compact", "tree_summarize", "refine", "accumulate")

#: Answers that are combined at once.
_TOGETHER = 8


@dataclass(frozen=True)
class Ask:
    """Something to ask.

    Args:
        words: What is asked.
        windows: Keys of the windows to answer from; chosen by the question if not given.
        memory: Whether there is memory at all; without, everything is in the words.
    """

    words: str
    windows: frozenset[str] | None = None
    memory: bool = True


#: Yields what can be asked at the same time, is sent the answers, returns the answer in the end.
Synthesis = Generator[list[Ask], list[Answer], str]


def synthesis(mode: str, question: str, pages: Sequence[frozenset[str] | None]) -> Synthesis:
    """Answer a question.

    Args:
        mode: One of `MODES`.
        question: The question.
        pages: Groups of windows, as keys; `None` for those that are chosen by the question.
    """
    if mode == "refine":
        (answer,) = yield [Ask(question, pages[0])]
        for windows in pages[1:]:
            (answer,) = yield [Ask(refining(question, answer.text), windows)]
        return answer.text
    texts = [answer.text for answer in (yield [Ask(question, windows) for windows in pages])]
    while mode == "tree_summarize" and len(texts) > 1:
        asks = [Ask(words, memory=False) for words in _combining(question, texts)]
        texts = [answer.text for answer in (yield asks)]
    return "\n---\n".join(texts)


def refining(question: str, answer: str) -> str:
    """Return the words that ask for a better answer from the next group of windows."""
    return f"{question}\nAn earlier answer was: {answer}\nGive a better one if the text allows it, else the same."


def _combining(question: str, answers: Sequence[str]) -> list[str]:
    """Return the words that ask for one answer out of several, for every run of them."""
    found = []
    for at in range(0, len(answers), _TOGETHER):
        lines = "\n".join(f"- {answer}" for answer in answers[at : at + _TOGETHER])
        found.append(f"Several texts were asked: {question}\nTheir answers:\n{lines}\nAnswer the question from these.")
    return found
