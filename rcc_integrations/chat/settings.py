"""`MemorySettings`: the settings of every chat model over compressed memory, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from pydantic.fields import FieldInfo

from rcc_integrations.chat.memory_holder import MemoryHolder
from rcc_integrations.errors import ConfigError
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.request import Request
from rcc_integrations.routing.route import Routing

#: Where a setting of a call goes, in a field's `json_schema_extra`.
_CALL = "rcc_call"
#: Our names of what `GenerationOptions` calls otherwise.
GENERATION_NAMES = {"max_tokens": "max_new_tokens", "min_tokens": "min_new_tokens"}


def call_option(default: Any, goes: str = "call", **more: Any) -> Any:
    """Declare a setting that every call may change, too.

    Args:
        default: Its value.
        goes: `request` for a field of `Request` of the same name, `generation` for one of `GenerationOptions`, `call`
            for what is used before either is made.
        **more: For pydantic's `Field`.
    """
    return Field(default, json_schema_extra={_CALL: goes}, **more)


class MemorySettings(BaseModel):
    """Settings of a chat model over compressed memory, shared by the classes of all frameworks.

    A setting that is declared with `call_option` can be changed with every call. One such line is all it takes to add
    a setting to the constructors, calls and configurations of every framework.

    Args:
        store: Folder of the store; a temporary one if not given. Objects with the same store and model share a reader,
            and objects with the same model share its weights.
        collection: Collection to answer from; without one, the plain base model answers.
        documents: Ids of the documents to answer from; all if not given.
        max_windows: Maximum number of windows in memory; the model's own setting if not given.
        sources: How many sources an answer names.
        grounded: Restrict answers to verbatim spans of the documents in memory, or `not stated` (extractive). Tool
            calls and structured output are not restricted.
        expand: How many of the windows that match the question best are inserted as uncompressed text instead.
        routing: How windows are chosen: by `both` memory and words, by `memory`, or by `words` alone.
        vote: How many of the best windows are each answered from alone; the answer that is surest is returned. 0 reads
            them together.
        min_confidence: Abstain (`not stated`) if the confidence is below this.
        compress_over: Texts of users and tools with more tokens than this are compressed, and read from memory that is
            not kept; the question itself is never compressed. `None` turns this off.
        model: Folder or hub id of an RCC model; the default model if not given.
        base: Folder or hub id of its base model, if it is not where the model says.
        device: Such as `cpu` or `cuda`; chosen automatically if not given.
        dtype: `float32`, `bfloat16` or `float16`; chosen automatically if not given.
        reader: An open reader to share instead of opening `store`.
        max_tokens: Maximum number of tokens of an answer.
        min_tokens: Minimum number of tokens of an answer.
        temperature: 0 is greedy decoding.
        top_p: Sample from the smallest set of tokens with at least this total probability.
        top_k: Sample from this many of the most likely tokens; 0 for all.
        repetition_penalty: Above 1, tokens that already occurred become less likely.
        seed: Makes sampling reproducible.
        stop: Strings that end an answer; a call can add others. They never cut a call or an object.
        timeout: Seconds after which an answer is abandoned, including the compression of what came with the question.
    """

    store: Path | None = None
    collection: str | None = call_option(None)
    documents: list[str] | None = call_option(None)
    max_windows: int | None = call_option(None)
    sources: int = call_option(3, "request")
    grounded: bool = call_option(False, "request")
    expand: int = call_option(0, "request")
    routing: Routing = call_option("both", "request")
    vote: int = call_option(0, "request")
    min_confidence: float = call_option(0.0, "request")
    compress_over: int | None = call_option(512)
    model: str | None = None
    base: str | None = None
    device: str | None = None
    dtype: str | None = None
    reader: RCCReader | None = Field(default=None, exclude=True, repr=False)
    max_tokens: int = call_option(256, "generation")
    min_tokens: int = call_option(0, "generation")
    temperature: float = call_option(0.0, "generation")
    top_p: float = call_option(1.0, "generation")
    top_k: int = call_option(0, "generation")
    repetition_penalty: float = call_option(1.0, "generation")
    seed: int | None = call_option(None, "generation")
    stop: list[str] = Field(default_factory=list)
    timeout: float | None = call_option(None)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    _memory: MemoryHolder = PrivateAttr(default_factory=MemoryHolder)

    #: What None means everywhere else: nothing was said.
    _own_none: ClassVar[frozenset[str]] = frozenset({"collection", "documents", "max_windows", "compress_over", "seed",
                                                     "timeout"})  # fmt: skip

    @field_validator("*", mode="before")
    @classmethod
    def _plain_setting(cls, value: Any, info: Any) -> Any:
        return cls._plain(info.field_name, value)

    @model_validator(mode="after")
    def _check_memory_settings(self) -> Self:
        if self.reader is not None and self.store is not None:
            raise ValueError("Give store or reader, not both: the reader has a store.")
        self.call_settings({}).generation([])
        return self

    @classmethod
    def call_options(cls) -> dict[str, str]:
        """Return the names of the settings that a call may change, and where each goes."""
        return _call_options(MemorySettings.model_fields)

    @classmethod
    def _plain(cls, name: str | None, value: Any) -> Any:
        """Bring the ordinary ways of saying a value to one."""
        field = MemorySettings.model_fields.get(name or "")
        if field is None:
            return value
        if value is None and name not in cls._own_none:
            return field.get_default(call_default_factory=True)
        if name in ("stop", "documents"):
            return None if value is None else strings(str(name), value)
        if name in ("model", "base") and isinstance(value, Path):
            return str(value)
        if name == "timeout" and isinstance(value, timedelta):
            return value.total_seconds()
        return value

    def call_settings(self, given: Mapping[str, Any]) -> CallSettings:
        """Return the settings of a call.

        Args:
            given: What the call says itself.
        """
        values = {}
        for name in self.call_options():
            said = name in given and (given[name] is not None or name in self._own_none)
            values[name] = self._plain(name, given[name] if said else getattr(self, name))
        limit = values["compress_over"]
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise ConfigError(f"compress_over must be a whole number of at least 1, or None; it is {limit!r}.")
        return CallSettings(values)

    def stops(self, *given: Any) -> list[str]:
        """Return the strings that end an answer: the model's and a call's."""
        found = list(self._plain("stop", self.stop) or ())
        for each in given:
            found += [] if each is None else strings("stop", each)
        return list(dict.fromkeys(found))

    @property
    def memory(self) -> RCCReader:
        """The underlying `RCCReader`, opened lazily and shared; it loads the weights when they are first needed."""
        if self.reader is not None:
            return self.reader
        return self._memory.reader(self.store, model=None if self.model is None else str(self.model), base=self.base,
                                   device=self.device, dtype=self.dtype)  # fmt: skip

    def _tokens_of(self, text: str) -> int:
        return len(self.memory.model.token_ids(text))

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory, so that asking takes no more than asking."""
        if self.reader is None and not self._memory.is_open:
            return False
        return self.memory.is_loaded

    def close(self) -> None:
        """Let the reader go, unless it was given; with its last owner it closes, and its weights are freed.

        Used again, the object opens it again.
        """
        self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __copy__(self) -> Self:
        copied = super().__copy__()
        copied._memory = MemoryHolder()
        return copied

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some settings changed; it opens the store that it names."""
        changes = dict(update or {})
        for name, other in (("store", "reader"), ("reader", "store")):
            if changes.get(name) is not None:
                changes.setdefault(other, None)
        return super().model_copy(update=changes, deep=deep)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        other = {"store": "reader", "reader": "store"}.get(name)
        if other is not None and value is not None:
            super().__setattr__(other, None)

    def __getstate__(self) -> dict[Any, Any]:
        if self.reader is not None and self.reader.opened_with is None:
            raise TypeError(
                f"This {type(self).__name__} has a reader over a loaded RCCModel, which cannot be pickled: make it "
                "with store=… and model=… (a folder or hub id), so that another process can open both."
            )
        return super().__getstate__()


class CallSettings(dict[str, Any]):
    """The settings of one call, by name."""

    @property
    def request(self) -> dict[str, Any]:
        """Those that are fields of `Request`."""
        return {name: self[name] for name, goes in MemorySettings.call_options().items() if goes == "request"}

    def generation(self, stop: list[str]) -> GenerationOptions:
        """Return how to generate.

        Args:
            stop: Strings that end an answer.

        Raises:
            ConfigError: If a setting is out of its range, by the name that the frameworks use.
        """
        names = [name for name, goes in MemorySettings.call_options().items() if goes == "generation"]
        values = {GENERATION_NAMES.get(name, name): self[name] for name in names}
        if isinstance(values["seed"], int):
            values["seed"] %= 2**64  # what torch takes; others count further
        elif values["seed"] is not None:
            raise ConfigError(f"seed must be a whole number or None; it is {values['seed']!r}.")
        made: GenerationOptions = in_our_words(lambda: GenerationOptions(**values, stop=tuple(stop)))
        return made


def strings(name: str, value: Any) -> list[str]:
    """Return one string, or several, as a list.

    Raises:
        ConfigError: If it is something else.
    """
    several: list[Any] = [value] if isinstance(value, str) else list(value) if isinstance(value, Iterable) else [None]
    if not all(isinstance(each, str) for each in several):
        raise ConfigError(f"{name} must be a string or a list of strings; it is {value!r:.120}.")
    return several


def in_our_words(make: Callable[[], Any]) -> Any:
    """Call something, and name settings in its errors as the frameworks do.

    Raises:
        ConfigError: As it raises, renamed.
    """
    try:
        return make()
    except ConfigError as error:
        raise renamed(error) from error


def renamed(error: Exception) -> Exception:
    """Return an error with settings named as the frameworks do."""
    text = str(error)
    for ours, theirs in GENERATION_NAMES.items():
        text = text.replace(theirs, ours)
    return error if text == str(error) else type(error)(text)


def _call_options(fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    found = {}
    for name, field in fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and _CALL in extra:
            found[name] = str(extra[_CALL])
    return found


# A field of a request that nobody has would be dropped in silence.
assert all(name in Request.__dataclass_fields__ for name, goes in MemorySettings.call_options().items()
           if goes == "request")  # fmt: skip
