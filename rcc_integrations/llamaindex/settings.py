"""What `RCCLLM` is made of: its settings, the reader below, and its requests."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, LLMMetadata
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr, field_serializer, model_validator
from llama_index.core.llms.function_calling import FunctionCallingLLM

from rcc_integrations.chat.conversation import options_of, request_of
from rcc_integrations.errors import ConfigError
from rcc_integrations.llamaindex import events
from rcc_integrations.llamaindex.messages import conversation
from rcc_integrations.reader.answer import Source
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.request import Request

#: What a call may change, beside tools and output formats.
PER_CALL = ("collection", "documents", "windows", "max_windows", "sources", "grounded", "expand",
            "min_confidence", "max_tokens", "temperature",
            "top_p", "top_k", "repetition_penalty", "seed", "min_tokens", "compress_over")  # fmt: skip
_KNOWN = {*PER_CALL, "question", "stop", "tools", "tool_choice", "response_format"}


class MemoryLLM(FunctionCallingLLM):
    """Settings and requests of an LLM over compressed memory; see `RCCLLM` for what they mean."""

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

    _opened: RCCReader | None = PrivateAttr(default=None)
    _folder: Any = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="after")
    def _check_rcc_settings(self) -> MemoryLLM:
        if self.reader is not None and self.store is not None:
            raise ValueError("Give store or reader, not both: the reader has a store.")
        options_of(self._settings({}), self.stop)
        return self

    @field_serializer("store")
    def _plain_store(self, store: Path | None) -> str | None:
        # JSON knows no paths.
        return None if store is None else str(store)

    @classmethod
    def class_name(cls) -> str:
        """Return the component's name."""
        return "RCCLLM"

    @property
    def memory(self) -> RCCReader:
        """The reader below; opened when first asked for. It holds the weights, which are loaded when first needed."""
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
    def metadata(self) -> LLMMetadata:
        """What the model is and holds; exact, and therefore loads it."""
        model = self.memory.model
        return LLMMetadata(
            context_window=model.reach,
            num_output=self.max_tokens,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.model or f"rcc-{model.config.base}",
        )

    def token_ids(self, text: str) -> list[int]:
        """Return the base model's token ids of a text, as `Settings.tokenizer` and chat memories want them."""
        ids: list[int] = self.memory.model.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def request(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Request:
        """Return the request that messages become; documents that they carry are compressed.

        Args:
            messages: The conversation.
            **kwargs: Settings of this call; `question` is what windows are chosen by, what was said last if not given.

        Raises:
            ConfigError: If there is no such setting, or a message holds what cannot be read.
        """
        if unknown := sorted(set(kwargs) - _KNOWN):
            raise ConfigError(f"RCCLLM takes no {unknown[0]!r} in a call; it takes {', '.join(sorted(_KNOWN))}.")
        settings = self._settings(kwargs)
        told = conversation(messages, settings["compress_over"], lambda text: len(self.token_ids(text)))
        made = request_of(
            self.memory,
            told,
            settings,
            [*self.stop, *(kwargs.get("stop") or ())],
            functions=[tool["function"] for tool in kwargs.get("tools") or ()],
            tool_choice=kwargs.get("tool_choice"),
            response_format=kwargs.get("response_format"),
        )
        return replace(made, question=kwargs.get("question") or made.question, on_step=events.observer())

    def sources_of(self, messages: Sequence[ChatMessage], **kwargs: Any) -> tuple[Source, ...]:
        """Return the windows that an answer would name, before it is written; its memory is at hand afterwards."""
        return self.memory.prepare(replace(self.request(messages, **kwargs), on_step=None)).sources

    def _settings(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return {name: kwargs.get(name, getattr(self, name, None)) for name in PER_CALL}
