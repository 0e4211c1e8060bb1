"""Conversations as the decoder reads them: turns in the base model's chat template, with a place for memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rcc_integrations.config import RCCConfig
from rcc_integrations.errors import ConfigError

Role = Literal["system", "user", "assistant", "tool"]

#: Stands for a turn's content while the template is applied; no text of a user's can be taken for it.
_PLACE = "\ue000{}\ue001"
_MEMORY = "\ue000memory\ue001"


@dataclass(frozen=True)
class Turn:
    """What one side says.

    Args:
        role: Who speaks.
        content: The words.
    """

    role: Role
    content: str


@dataclass(frozen=True)
class Prompt:
    """Token ids around memory.

    Args:
        before: In front of the memories; `None` for the model's own opening.
        after: Behind them, up to where the answer begins.
    """

    before: tuple[int, ...] | None
    after: tuple[int, ...]


def merged(turns: Sequence[Turn]) -> list[Turn]:
    """Join neighbouring turns of one role, as templates want them to alternate; a system turn comes first.

    Args:
        turns: In order. System turns are joined into one at the beginning, tool turns become the user's.
    """
    system = [turn.content for turn in turns if turn.role == "system" and turn.content]
    found = [Turn("system", "\n\n".join(system))] if system else []
    for turn in turns:
        role: Role = "user" if turn.role == "tool" else turn.role
        if role == "system":
            continue
        if found and found[-1].role == role:
            found[-1] = Turn(role, f"{found[-1].content}\n\n{turn.content}")
        else:
            found.append(Turn(role, turn.content))
    return found


def build_prompt(turns: Sequence[Turn], tokenizer: Any, config: RCCConfig, *, memory: bool) -> Prompt:
    """Turn a conversation into token ids.

    With memory, its place is the beginning of the first thing that the user says, where training put it; without a
    system turn, the model's own opening stands in front of it. Special tokens within what was said are plain text.

    Args:
        turns: The conversation; it must not be empty.
        tokenizer: Of the base model.
        config: Of the model.
        memory: Whether there is memory.

    Raises:
        ConfigError: If there is no turn.
    """
    whole = merged(turns)
    if not whole:
        raise ConfigError("The conversation is empty: give at least one message.")
    if memory and not any(turn.role == "user" for turn in whole):
        whole.append(Turn("user", ""))
    said = [turn.content for turn in whole]
    text = _rendered(whole, tokenizer, memory)
    before, found, after = text.partition(_MEMORY)
    if not found:
        return Prompt((), _ids(text, said, tokenizer))
    own = whole[0].role != "system"
    return Prompt(None if own else _ids(before, said, tokenizer), _ids(after, said, tokenizer))


def _rendered(turns: list[Turn], tokenizer: Any, memory: bool) -> str:
    first = next((number for number, turn in enumerate(turns) if turn.role == "user"), None)
    contents = [_PLACE.format(number) for number in range(len(turns))]
    if memory and first is not None:
        contents[first] = f"{_MEMORY}\n{contents[first]}"
    if getattr(tokenizer, "chat_template", None):
        from rcc_integrations.model.runtime import apply_template

        messages = [{"role": turn.role, "content": text} for turn, text in zip(turns, contents, strict=True)]
        open_end = turns[-1].role == "assistant"
        return apply_template(tokenizer, messages, add_generation_prompt=not open_end, continue_final_message=open_end)
    names = {"system": "System", "user": "User", "assistant": "Assistant"}
    lines = [f"{names[turn.role]}: {text}" for turn, text in zip(turns, contents, strict=True)]
    return "\n\n".join([*lines, "Assistant:"] if turns[-1].role != "assistant" else lines)


def _ids(text: str, said: list[str], tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of a template's text with contents in their places."""
    found: list[int] = []
    for piece in text.split("\ue000"):
        number, place, rest = piece.partition("\ue001")
        if place:
            found += _encoded(said[int(number)], tokenizer, special=False)
        found += _encoded(rest if place else piece, tokenizer, special=True)
    return tuple(found)


def _encoded(text: str, tokenizer: Any, *, special: bool) -> list[int]:
    if not text:
        return []
    encoded = tokenizer(text, add_special_tokens=False, split_special_tokens=not special, verbose=False)
    ids: list[int] = encoded["input_ids"]
    return ids
