"""`GenerationOptions`: how an answer is generated. Importing it pulls in neither torch nor transformers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rcc_integrations.errors import ConfigError


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is generated.

    Args:
        max_new_tokens: Maximum number of tokens to generate.
        min_new_tokens: Minimum number of tokens to generate.
        temperature: 0 is greedy decoding; above 0, tokens are sampled.
        top_p: Sample from the smallest set of tokens with at least this total probability.
        top_k: Sample from this many of the most likely tokens; 0 for all.
        repetition_penalty: Above 1, tokens that already occurred become less likely.
        stop: Strings that end the answer; they are not part of it.
        seed: Makes sampling reproducible.

    Raises:
        ConfigError: A value is out of range; the message names it.
    """

    max_new_tokens: int = 128
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.stop, str):
            object.__setattr__(self, "stop", (self.stop,))
        for name in ("max_new_tokens", "min_new_tokens", "top_k"):
            _check_number(name, getattr(self, name), int)
        for name in ("temperature", "top_p", "repetition_penalty"):
            _check_number(name, getattr(self, name), int | float)
        checks = {
            "max_new_tokens": self.max_new_tokens >= 1,
            "min_new_tokens": 0 <= self.min_new_tokens <= self.max_new_tokens,
            "temperature": 0.0 <= self.temperature < float("inf"),
            "top_p": 0.0 < self.top_p <= 1.0,
            "top_k": self.top_k >= 0,
            "repetition_penalty": 0.0 < self.repetition_penalty < float("inf"),
        }
        for name, fits in checks.items():
            if not fits:
                raise ConfigError(f"{name} is out of range: {getattr(self, name)!r}.")
        object.__setattr__(self, "stop", tuple(self.stop))
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ConfigError(f"stop must be non-empty strings; it is {self.stop!r}.")

    def but(self, **changes: Any) -> GenerationOptions:
        """Return these options with some changed.

        Raises:
            ConfigError: An option does not exist, or a value is out of range.
        """
        try:
            return replace(self, **changes)
        except TypeError as error:
            raise ConfigError(f"There is no such generation option: {error}.") from error


def _check_number(name: str, value: object, kind: Any) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        what = "a whole number" if kind is int else "a number"
        raise ConfigError(f"{name} must be {what}; it is {value!r}.")
