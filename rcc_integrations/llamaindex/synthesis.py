"""How answers over several groups of windows become one."""

from __future__ import annotations

from collections.abc import Sequence

from rcc_integrations.answer import Answer

#: Answers that are combined at once.
_TOGETHER = 8


def refining(question: str, answer: str) -> str:
    """Return the words that ask for a better answer from the next group of windows."""
    return f"{question}\nAn earlier answer was: {answer}\nGive a better one if the text allows it, else the same."


def combining(question: str, answers: Sequence[str]) -> list[str]:
    """Return the words that ask for one answer out of several, for every run of them."""
    found = []
    for at in range(0, len(answers), _TOGETHER):
        lines = "\n".join(f"- {answer}" for answer in answers[at : at + _TOGETHER])
        found.append(f"Several texts were asked: {question}\nTheir answers:\n{lines}\nAnswer the question from these.")
    return found


def accumulated(answers: Sequence[Answer]) -> str:
    """Return the answers of all groups, one below the other."""
    return "\n---\n".join(answer.text for answer in answers)
