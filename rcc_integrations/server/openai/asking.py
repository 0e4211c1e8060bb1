"""`Asking`: from a conversation to the reader's request, and from its answer to words and calls."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from rcc_integrations.chat.asking import Asked
from rcc_integrations.chat.conversation import Conversation, Said
from rcc_integrations.chat.output import OutputForm
from rcc_integrations.chat.settings import CallSettings, MemorySettings
from rcc_integrations.chat.tools import Call
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.request import Request

#: One message of a conversation.
Message = Said


class Asking:
    """A conversation, what is asked of it, and what its answer may be.

    Args:
        reader: Who will answer.
        messages: The conversation.
        settings: Settings of the call; see `schema.Sampling.settings`.
        stop: Strings that end an answer.
        functions: Functions that may be called: name, description, JSON schema of parameters.
        tool_choice: OpenAI's field of that name.
        response_format: OpenAI's field of that name.

    Raises:
        ConfigError: If tools, the choice among them or the format are of no known form.
    """

    def __init__(
        self,
        reader: RCCReader,
        messages: Sequence[Message],
        settings: dict[str, Any],
        stop: Sequence[str] = (),
        *,
        functions: Sequence[dict[str, Any]] = (),
        tool_choice: Any = None,
        response_format: Any = None,
    ) -> None:
        self._reader, self._stop = reader, list(stop)
        fields = {name: MemorySettings.model_fields[name] for name in MemorySettings.call_options()}
        plain = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
        self._settings = CallSettings({**plain, "compress_over": None, **settings})
        self._told = Conversation.of(messages, None, len)
        self._form = OutputForm.of(functions, tool_choice, response_format)

    @property
    def question(self) -> str:
        """What windows are chosen by."""
        return self._told.question

    @property
    def is_held(self) -> bool:
        """Whether nothing of the answer can be shown before it is whole."""
        return bool(self._form.functions) or self._form.unique

    @cached_property
    def _asked(self) -> Asked:
        return Asked.about(self._reader, self._told, self._settings, self._stop, self._form)

    def request(self) -> Request:
        """Return the reader's request; documents that came along are compressed first.

        Raises:
            RCCError: A setting cannot be used, or something that is named is not there.
        """
        self._asked.remember()
        return self._asked.request

    def read(self, answer: Answer) -> tuple[str, list[Call]]:
        """Return an answer's words and its calls.

        Raises:
            GenerationError: It is half a call or half an object.
        """
        written = self._form.read(answer)
        return written.text, list(written.calls)
