"""Conversations of chat models: turns, documents that came along, and the requests they become."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rcc_integrations.chat import tools
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.reader.compatibility import ratio_of
from rcc_integrations.reader.prompt import Role, Turn
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.request import Part, Request

#: Collection of the documents that messages carried.
INPUTS = "inputs"


@dataclass
class Conversation:
    """What messages hold.

    Args:
        turns: What was said, in order.
        documents: Texts to be read from memory, by an id made from their content.
    """

    turns: list[Turn] = field(default_factory=list)
    documents: dict[str, str] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """What the user said last; windows are chosen by it."""
        return next((turn.content for turn in reversed(self.turns) if turn.role in ("user", "tool")), "")

    def take(
        self,
        role: Role,
        texts: Iterable[str],
        documents: Iterable[str],
        compress_over: int | None,
        count: Callable[[str], int],
    ) -> str:
        """Put a message's documents aside, and return what is to be read as uncompressed text.

        Args:
            role: Who speaks.
            texts: What was said.
            documents: Texts of documents.
            compress_over: Texts of users and tools with more tokens than this become documents; `None` for never.
            count: Returns the number of tokens of a text.
        """
        kept = []
        for text in documents:
            self.documents[_id(text)] = text
        for text in texts:
            # A character is at most a token, so short texts need no counting.
            if compress_over is not None and role in ("user", "tool") and len(text) > compress_over < count(text):
                self.documents[_id(text)] = text
            else:
                kept.append(text)
        return "\n".join(kept)


def request_of(
    reader: RCCReader,
    told: Conversation,
    settings: Mapping[str, Any],
    stop: Sequence[str],
    *,
    functions: Sequence[dict[str, Any]] = (),
    tool_choice: Any = None,
    response_format: Any = None,
) -> Request:
    """Make the request of a conversation; documents that it carries are compressed first.

    Args:
        reader: The reader that will answer.
        told: The conversation.
        settings: `collection`, `documents`, `max_windows`, `sources`, `grounded`, `expand`, `min_confidence`,
            `max_tokens`, `min_tokens`, `temperature`, `top_p`, `top_k`, `repetition_penalty`, `seed`; `windows`, if
            only some are to be read.
        stop: Strings that end an answer.
        functions: Tools: name, description, JSON schema of parameters.
        tool_choice: See `tools.chosen`.
        response_format: See `tools.output_grammar`.
    """
    turns, grammar = list(told.turns), None
    mode, callable_ones = tools.chosen(tool_choice, functions)
    if callable_ones:
        turns.insert(0, Turn("system", tools.instructions(callable_ones)))
        grammar = tools.call_grammar(callable_ones, forced=mode == "any")
    elif response_format is not None:
        grammar, words = tools.output_grammar(response_format)
        turns.insert(0, Turn("system", words))
    parts = []
    if told.documents:
        parts.append(_compressed(reader, told.documents, settings["collection"]))
    if settings["collection"] is not None:
        documents = settings["documents"]
        chosen = tuple(documents) if documents is not None else None
        parts.append(Part(settings["collection"], chosen, settings["max_windows"], settings.get("windows")))
    options = options_of(settings, stop)
    held = {name: settings[name] for name in ("grounded", "min_confidence")} if grammar is None else {}
    return Request(told.question, tuple(parts), tuple(turns), options, grammar, settings["sources"],
                   expand=settings["expand"], **held)  # fmt: skip


def options_of(settings: Mapping[str, Any], stop: Sequence[str]) -> GenerationOptions:
    """Return how to generate; see `request_of`.

    Raises:
        ConfigError: If a setting is out of its range.
    """
    return GenerationOptions(
        max_new_tokens=settings["max_tokens"],
        min_new_tokens=settings["min_tokens"],
        temperature=settings["temperature"],
        top_p=settings["top_p"],
        top_k=settings["top_k"],
        repetition_penalty=settings["repetition_penalty"],
        seed=settings["seed"],
        stop=tuple(dict.fromkeys(stop)),
    )


def _compressed(reader: RCCReader, documents: dict[str, str], beside: str | None) -> Part:
    """Put documents of messages into the store, where they are found again by their content."""
    ratio = ratio_of(reader.store.collection(beside)) if beside is not None else reader.model.config.ratio
    name = f"{INPUTS} (ratio {ratio})"
    reader.add(name, documents, ratio=ratio)
    return Part(name, tuple(documents))


def _id(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
