"""LlamaIndex's prompt templates over memory: what they would paste stands in front of the prompt already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole

#: Stands in a template where the text would.
CONTEXT = "(the text above)"


@dataclass(frozen=True)
class Templates:
    """The words in which an engine asks.

    Args:
        text_qa: Template of a question; the question alone if not given.
        refine: Template for a better answer from further windows.
        summary: Template for one answer out of several.
    """

    text_qa: Any = None
    refine: Any = None
    summary: Any = None

    def asked(self, question: str) -> list[ChatMessage]:
        """Return the messages of a question."""
        if self.text_qa is None:
            return said(question)
        return list(self.text_qa.format_messages(context_str=CONTEXT, query_str=question))

    def refining(self, question: str, answer: str) -> list[ChatMessage]:
        """Return the messages that ask for a better answer from the next group of windows."""
        if self.refine is not None:
            given = {"query_str": question, "existing_answer": answer, "context_msg": CONTEXT}
            return list(self.refine.format_messages(**given))
        words = f"An earlier answer was: {answer}\nGive a better one if the text allows it, else the same."
        return said(f"{question}\n{words}")

    def combining(self, question: str, answers: Sequence[str]) -> list[ChatMessage]:
        """Return the messages that ask for one answer out of several."""
        if self.summary is not None:
            return list(self.summary.format_messages(context_str="\n\n".join(answers), query_str=question))
        lines = "\n".join(f"- {answer}" for answer in answers)
        return said(f"Several texts were asked: {question}\nTheir answers:\n{lines}\nAnswer the question from these.")


def said(question: str) -> list[ChatMessage]:
    """Return a question as the only message."""
    return [ChatMessage(question, role=MessageRole.USER)]
