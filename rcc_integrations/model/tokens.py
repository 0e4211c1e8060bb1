"""`Tokens`: texts, questions and documents as token ids of an RCC model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from rcc_integrations.config import RCCConfig
from rcc_integrations.errors import ModelError
from rcc_integrations.model.windows import Window, cut_windows, published_windows


class Tokens:
    """Turns text into token ids.

    Args:
        tokenizer: A fast tokenizer of transformers.
        config: The model's settings.
        vocabulary: How many tokens have an embedding.
    """

    def __init__(self, tokenizer: Any, config: RCCConfig, vocabulary: int) -> None:
        self._tokenizer, self._config, self._vocabulary = tokenizer, config, vocabulary

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        """Return the token ids of a text without special tokens around it.

        Args:
            text: The text.
            special: Whether special tokens in the text are parsed as such, and not as plain text.
        """
        if not text:
            return []
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=not special, verbose=False)
        ids: list[int] = encoded["input_ids"]
        return ids

    @cached_property
    def opening(self) -> tuple[int, ...]:
        """The token ids in front of every memory."""
        return tuple(self.ids(self._config.prefix_text, special=True))

    @cached_property
    def template(self) -> tuple[list[int], list[int]]:
        """The token ids in front of a question and behind it."""
        before, after = self._config.question_template.split("{question}")
        return self.ids(before, special=True), self.ids(after, special=True)

    def question(self, question: str) -> list[int]:
        """Return the token ids of a question in its template; special tokens in it are treated as plain text."""
        before, after = self.template
        return [*before, *self.ids(question), *after]

    def cut(self, text: str) -> list[Window]:
        """Cut a document into windows; an empty list if it has no tokens."""
        if self._config.filling == "published":
            return published_windows(text, self._tokenizer, self._config.window)
        return cut_windows(text, self._tokenizer, self._config.window)

    def check(self, rows: Iterable[Sequence[int]]) -> None:
        """Refuse tokens that the model has no embedding of: on some devices they would end the process.

        Args:
            rows: Token ids.

        Raises:
            ModelError: If there is such a token.
        """
        largest = max((max(row, default=0) for row in rows), default=0)
        if largest >= self._vocabulary:
            raise ModelError(
                f"The tokenizer gives token {largest}; {self._config.base!r} has {self._vocabulary} embeddings. "
                "They do not belong together: load the model with its own tokenizer."
            )
