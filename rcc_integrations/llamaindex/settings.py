"""`MemoryLLM`: the settings of `RCCLLM` and its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, LLMMetadata
from llama_index.core.bridge.pydantic import ConfigDict, field_serializer
from llama_index.core.llms.function_calling import FunctionCallingLLM

from rcc_integrations.chat.asking import Asked, check_known
from rcc_integrations.chat.conversation import Conversation
from rcc_integrations.chat.output import OutputForm
from rcc_integrations.chat.settings import MemorySettings
from rcc_integrations.chat.tools import function_of
from rcc_integrations.llamaindex import events
from rcc_integrations.llamaindex.messages import said
from rcc_integrations.model.positions import known_positions
from rcc_integrations.reader.answer import Source
from rcc_integrations.reader.request import Request

#: What a call may say beside its settings.
_FORM = ("windows", "question", "stop", "tools", "tool_choice", "response_format")
#: What LlamaIndex passes along that changes nothing here.
_PASSED = ("formatted", "strict", "parallel_tool_calls", "allow_parallel_tool_calls")


class MemoryLLM(MemorySettings, FunctionCallingLLM):
    """Settings and requests of an LLM over compressed memory; see `MemorySettings` for what they mean."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    @field_serializer("store")
    def _plain_store(self, store: Path | None) -> str | None:
        # JSON knows no paths.
        return None if store is None else str(store)

    @classmethod
    def class_name(cls) -> str:
        """Return the component's name."""
        return "RCCLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """What the model is and holds; exact, and read from its files as long as the weights are not loaded.

        LlamaIndex's agents ask for it on the event loop.
        """
        opened: Any = self.reader.opened_with if self.reader else {"model": self.model, "base": self.base}
        positions = None
        if not self.is_loaded and opened is not None:
            positions = known_positions(opened.get("model"), opened.get("base"))
        return LLMMetadata(
            context_window=positions or self.memory.model.reach,
            num_output=self.max_tokens,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.model or "rcc-default" if positions else self._model_name,
        )

    @property
    def _model_name(self) -> str:
        return self.model or f"rcc-{self.memory.model.config.base}"

    def token_ids(self, text: str) -> list[int]:
        """Return the base model's token ids of a text, as `Settings.tokenizer` and chat memories want them."""
        ids: list[int] = self.memory.model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def request(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Request:
        """Return the request for messages; documents in them are compressed.

        Args:
            messages: The conversation.
            **kwargs: Settings of this call; `question` is what windows are chosen by, the human's if not given.

        Raises:
            ConfigError: A setting is unknown, or a message contains something that cannot be read.
        """
        asked = self._asked(messages, kwargs)
        asked.remember()
        return asked.request

    def count_tokens(self, messages: Sequence[ChatMessage], **kwargs: Any) -> int:
        """Return how many positions of the decoder messages take; nothing is compressed or stored for it.

        Args:
            messages: The conversation.
            **kwargs: Settings of the call that it is counted for.
        """
        return self._asked(messages, kwargs).count()

    def sources_of(self, messages: Sequence[ChatMessage], **kwargs: Any) -> tuple[Source, ...]:
        """Return the windows that an answer would name, before it is generated; its memory is cached afterwards."""
        return self._asked(messages, kwargs).sources()

    def _asked(self, messages: Sequence[ChatMessage], kwargs: Mapping[str, Any]) -> Asked:
        check_known(kwargs, [*self.call_options(), *_FORM, *_PASSED], "RCCLLM")
        settings = self.call_settings(kwargs)
        told = Conversation.of(said(messages), settings["compress_over"], self._tokens_of)
        form = self._form(kwargs)
        stops, chosen_by = self.stops(kwargs.get("stop")), {name: kwargs.get(name) for name in ("windows", "question")}
        return Asked.about(self.memory, told, settings, stops, form, on_step=events.observer(), **chosen_by)

    def _form(self, kwargs: Mapping[str, Any]) -> OutputForm:
        functions = [function_of(tool) for tool in kwargs.get("tools") or ()]
        return OutputForm.of(functions, kwargs.get("tool_choice"), kwargs.get("response_format"))
