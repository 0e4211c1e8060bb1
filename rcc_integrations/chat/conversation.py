"""Conversations of chat models: who said what, and what of it is read from memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rcc_integrations.chat.routing_question import routing_question
from rcc_integrations.chat.text import split_prompt, whole_characters
from rcc_integrations.reader.prompt import Role, Turn

#: What agents that write their steps as text put in front of a tool's result.
_OBSERVATION = "Observation:"


@dataclass(frozen=True)
class Said:
    """One message.

    Args:
        role: Who speaks.
        texts: What was said, block by block.
        documents: Texts of documents that came along.
        before: Words in front of it, such as the tool that it is a result of.
        calls: Calls of functions, as the model writes them.
    """

    role: Role
    texts: Sequence[str]
    documents: Sequence[str] = ()
    before: str = ""
    calls: Sequence[str] = ()


@dataclass(frozen=True)
class Conversation:
    """What messages become.

    Args:
        turns: What is read as uncompressed text, in order.
        documents: Texts of documents to be read from memory, by an id made from their content.
        prompts: Long texts to be read from memory that are not to be kept, likewise.
        question: What windows are chosen by.
    """

    turns: tuple[Turn, ...] = ()
    documents: dict[str, str] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    question: str = ""

    @classmethod
    def of(cls, messages: Sequence[Said], compress_over: int | None, count: Callable[[str], int]) -> Conversation:
        """Decide what of a conversation is read as uncompressed text.

        The last thing that the human says is never compressed as a whole: of a long prompt the part that asks stays in
        clear, and where that cannot be told from its context, everything does.

        Args:
            messages: In order.
            compress_over: Texts of people and tools with more tokens than this are read from memory; `None` for never.
            count: Returns the number of tokens of a text.
        """
        turns, documents, prompts, asked = list[Turn](), dict[str, str](), dict[str, str](), list[str]()
        human = [number for number, each in enumerate(messages) if _is_human(each)]
        for number, each in enumerate(messages):
            for text in each.documents:
                documents[_id(text)] = whole_characters(text)
            kept, moved = [], False
            for place, given in enumerate(each.texts):
                text = whole_characters(given)
                last = human[-1:] == [number] and not any(other.strip() for other in each.texts[place + 1 :])
                clear, context = _clear(each.role, text, compress_over, count, whole=not last)
                if context:
                    prompts[_id(context)], moved = context, True
                if clear or not context:
                    kept.append(clear)
            said = "\n".join(kept)
            if number in human and said.strip():
                asked.append(said)
            if each.before:
                said = f"{each.before}{said or ('its text is in memory.' if moved else '')}"
            turns.append(Turn(each.role, "\n".join([*([said] if said else []), *each.calls])))
        return cls(tuple(turns), documents, prompts, routing_question(asked))


def _is_human(said: Said) -> bool:
    texts = [text for text in said.texts if text.strip()]
    return said.role == "user" and bool(texts) and not texts[0].lstrip().startswith(_OBSERVATION)


def _clear(role: Role, text: str, limit: int | None, count: Callable[[str], int], *, whole: bool) -> tuple[str, str]:
    """Return what of a text is read as uncompressed text, and what from memory."""
    # A character is at most a token, so short texts need no counting.
    if limit is None or role not in ("user", "tool") or not len(text) > limit < count(text):
        return text, ""
    if role == "tool":
        return "", text
    parts = split_prompt(text, limit, count)
    if parts is not None:
        return parts.asking, parts.context
    return ("", text) if whole else (text, "")


def _id(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
