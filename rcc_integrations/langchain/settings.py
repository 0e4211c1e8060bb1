"""What `RCCChatModel` is made of: its settings, the reader below, what identifies it, and its requests."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import BaseMessage
from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from rcc_integrations.chat.conversation import options_of, request_of
from rcc_integrations.errors import ConfigError, UnknownCollectionError
from rcc_integrations.langchain import tools
from rcc_integrations.langchain.messages import conversation
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.request import Request

#: What a call may change, beside `stop`, tools and output formats.
PER_CALL = ("collection", "documents", "max_windows", "sources", "grounded", "expand",
            "min_confidence", "max_tokens", "temperature", "top_p",
            "top_k", "repetition_penalty", "seed", "min_tokens", "compress_over")  # fmt: skip
_KNOWN = {*PER_CALL, "tools", "tool_choice", "response_format", "ls_structured_output_format", "strict",
          "parallel_tool_calls"}  # fmt: skip


class MemoryChatModel(BaseChatModel):
    """Settings and requests of a chat model over compressed memory; see `RCCChatModel` for what they mean."""

    store: Path | None = None
    collection: str | None = None
    documents: list[str] | None = None
    max_windows: int | None = None
    sources: int = 3
    grounded: bool = False
    expand: int = 0
    min_confidence: float = 0.0
    compress_over: int | None = 512
    model: str | None = None
    base: str | None = None
    device: str | None = None
    dtype: str | None = None
    reader: RCCReader | None = Field(default=None, exclude=True, repr=False)
    max_tokens: int = 256
    min_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: list[str] = Field(default_factory=list)
    timeout: float | None = None
    max_retries: int | None = Field(default=None, exclude=True, repr=False)
    api_key: str | None = Field(default=None, exclude=True, repr=False)
    streaming: bool = Field(default=False, exclude=True, repr=False)

    _opened: RCCReader | None = PrivateAttr(default=None)
    _folder: Any = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="after")
    def _check_rcc_settings(self) -> MemoryChatModel:
        if self.reader is not None and self.store is not None:
            raise ValueError("Give store or reader, not both: the reader has a store.")
        options_of(self._settings({}), self.stop)
        return self

    @property
    def _llm_type(self) -> str:
        return "rcc"

    @property
    def memory(self) -> RCCReader:
        """The underlying `RCCReader`, opened lazily; it loads the weights when they are first needed."""
        with self._lock:
            if self.reader is not None:
                return self.reader
            if self._opened is None:
                store = self.store
                if store is None:
                    self._folder = tempfile.TemporaryDirectory(prefix="rcc-")
                    store = Path(self._folder.name) / "memory"
                options = {name: value for name in ("base", "device", "dtype") if (value := getattr(self, name))}
                self._opened = RCCReader.open(store, model=self.model, **options)
            return self._opened

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        """What LangChain's cache tells models apart by: weights, settings, and the collection as it is now."""
        return {
            "model_name": self.memory.model.config.base,
            "fingerprint": self.memory.model.fingerprint(),
            "store": self.memory.store.id,
            **self._settings({}),
            "stop": self.stop,
            "memory": self._revision(self.collection),
        }

    def _revision(self, collection: str | None) -> Any:
        if collection is None:
            return None
        try:
            record = self.memory.store.collection(collection)
        except UnknownCollectionError:
            return None
        return [record.uid, record.revision]

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # A collection of this call alone is not among the identifying parameters.
        if "collection" in kwargs:
            kwargs["memory"] = self._revision(kwargs["collection"])
        return super()._get_llm_string(stop, **kwargs)

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        found = super()._get_ls_params(stop, **kwargs)
        found["ls_provider"] = "rcc"
        found["ls_model_name"] = str(kwargs.get("model") or self.model or "rcc-default")
        found["ls_temperature"] = kwargs.get("temperature", self.temperature)
        found["ls_max_tokens"] = kwargs.get("max_tokens", self.max_tokens)
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

        Args:
            messages: The messages.
            tools: Tools that are described in the prompt.
        """
        request = self._request(messages, None, {"tools": tools} if tools else {})
        prepared = self.memory.prepare(request)
        return prepared.prefix.length + len(prepared.ids)

    @property
    def _model_name(self) -> str:
        return self.model or f"rcc-{self.memory.model.config.base}"

    def _request(self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Request:
        self._check_arguments(kwargs)
        settings = self._settings(kwargs)
        told = conversation(messages, settings["compress_over"], lambda text: len(self.get_token_ids(text)))
        return request_of(
            self.memory,
            told,
            settings,
            [*self.stop, *(stop or ())],
            functions=tools.as_functions(kwargs.get("tools") or ()),
            tool_choice=kwargs.get("tool_choice"),
            response_format=kwargs.get("response_format"),
        )

    def _settings(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {name: kwargs.get(name, getattr(self, name)) for name in PER_CALL}

    def _check_arguments(self, kwargs: dict[str, Any]) -> None:
        if unknown := sorted(set(kwargs) - _KNOWN):
            raise ConfigError(f"RCCChatModel takes no {unknown[0]!r} in a call; it takes {', '.join(sorted(_KNOWN))}.")
