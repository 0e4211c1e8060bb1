"""`MemoryChatModel`: the settings of `RCCChatModel`, what identifies it, and its requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import BaseMessage
from pydantic import ConfigDict, Field

from rcc_integrations.chat.asking import Asked, check_known
from rcc_integrations.chat.conversation import Conversation
from rcc_integrations.chat.output import OutputForm
from rcc_integrations.chat.settings import MemorySettings
from rcc_integrations.errors import UnknownCollectionError
from rcc_integrations.langchain.messages import said
from rcc_integrations.langchain.tools import as_functions, as_response_format

#: What a call may say beside its settings.
_FORM = ("tools", "tool_choice", "response_format")
#: What LangChain passes along that changes nothing here.
_PASSED = ("ls_structured_output_format", "strict", "parallel_tool_calls", "stream_usage")


class MemoryChatModel(MemorySettings, BaseChatModel):
    """Settings and requests of a chat model over compressed memory; see `MemorySettings` for what they mean."""

    max_retries: int | None = Field(default=None, exclude=True, repr=False)
    api_key: str | None = Field(default=None, exclude=True, repr=False)
    streaming: bool = Field(default=False, exclude=True, repr=False)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    @property
    def _llm_type(self) -> str:
        return "rcc"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """What tells models apart without opening or loading anything: LangChain asks on the event loop."""
        place = self.reader.store.path if self.reader is not None else self.store
        return {
            "model_name": self.model or "rcc-default",
            "base": self.base,
            "store": None if place is None else str(place),
            **self.call_settings({}),
            "stop": self.stop,
        }

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # The key of LangChain's cache: also the weights, and the collection as it is now.
        memory = self.memory
        collection = kwargs.get("collection", self.collection)
        known = [memory.model.fingerprint(), memory.store.id, self._revision(collection)]
        return f"{super()._get_llm_string(stop, **kwargs)}---{known}"

    def _revision(self, collection: str | None) -> Any:
        if collection is None:
            return None
        try:
            record = self.memory.store.collection(collection)
        except UnknownCollectionError:
            return None
        return [record.uid, record.revision]

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        found = super()._get_ls_params(stop, **kwargs)
        found["ls_provider"] = "rcc"
        found["ls_model_name"] = str(kwargs.get("model") or self.model or "rcc-default")
        settings = self.call_settings({name: kwargs[name] for name in self.call_options() if name in kwargs})
        found["ls_temperature"] = settings["temperature"]
        found["ls_max_tokens"] = settings["max_tokens"]
        return found

    def _resolve_model_profile(self) -> ModelProfile | None:
        return ModelProfile(text_inputs=True, text_outputs=True, tool_calling=True, tool_choice=True,
                            structured_output=True, max_output_tokens=self.max_tokens)  # fmt: skip

    def get_token_ids(self, text: str) -> list[int]:
        """Return the base model's token ids of a text."""
        ids: list[int] = self.memory.model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def get_num_tokens_from_messages(self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Return how many decoder positions messages take, including the prompt and memory slots.

        Nothing is compressed or stored for it.

        Args:
            messages: The messages.
            tools: Tools that are described in the prompt.
        """
        return self._asked(messages, None, {"tools": tools} if tools else {}).count() if messages else 0

    @property
    def _model_name(self) -> str:
        return self.model or f"rcc-{self.memory.model.config.base}"

    def _form(self, kwargs: Mapping[str, Any]) -> OutputForm:
        given = kwargs.get("response_format")
        return OutputForm.of(
            as_functions(kwargs.get("tools") or ()),
            kwargs.get("tool_choice"),
            None if given is None else as_response_format(given),
        )

    def _asked(self, messages: Sequence[BaseMessage], stop: Any, kwargs: dict[str, Any]) -> Asked:
        check_known(kwargs, [*self.call_options(), *_FORM, *_PASSED], "RCCChatModel")
        settings = self.call_settings(kwargs)
        told = Conversation.of(said(messages), settings["compress_over"], self._tokens_of)
        return Asked.about(self.memory, told, settings, self.stops(stop), self._form(kwargs))
