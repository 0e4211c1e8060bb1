"""`Material`: what conditions read from, a model and documents with their windows and memories."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cached_property
from random import Random
from typing import TypeVar, cast

import torch

from rcc_integrations.errors import BudgetError, DataError
from rcc_integrations.evaluation.embedder import Embedder
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.model.windows import Window
from rcc_integrations.training.data.sample import Sample

_Made = TypeVar("_Made")

#: Bytes of memories that are held from one condition to the next; others are compressed again.
_HELD = 1 << 30


class Material:
    """Documents as a model sees them; everything is made once, when it is first needed.

    Args:
        model: The RCC model.
        samples: Documents; those with the same `task` are one set.
        seed: Decides the order of other documents.
        held: The ratio whose memories are held, as most conditions share it.
    """

    def __init__(self, model: RCCModel, samples: Sequence[Sample], seed: int = 0, held: int | None = None) -> None:
        self.model = model
        self.samples = samples
        self._seed = seed
        self._held = held
        self._windows: dict[int, list[Window]] = {}
        self._memories: dict[int, list[Memory]] = {}
        self._room = _HELD
        self._made: dict[Hashable, object] = {}

    @cached_property
    def base(self) -> RCCModel:
        """The model's base without adapters, in its own chat template, asked to be brief; it shares the weights."""
        plain = RCCModel.from_base(self.model.parts.base, tokenizer=self.model.tokenizer)
        template = plain.config.question_template.replace("{question}", "{question} Answer in a few words.")
        return RCCModel(replace(plain.config, question_template=template), plain.parts)

    @cached_property
    def embedder(self) -> Embedder:
        """The vector model."""
        return Embedder(self.model.device)

    def once(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """Return what a function makes, which is called once for a key.

        Args:
            key: What names it.
            make: Makes it.
        """
        if key not in self._made:
            self._made[key] = make()
        return cast("_Made", self._made[key])

    def windows(self, number: int) -> list[Window]:
        """Return the windows of a document.

        Raises:
            DataError: If it has no tokens.
        """
        if number not in self._windows:
            sample = self.samples[number]
            if not (cut := self.model.cut(sample.text)):
                raise DataError(f"The document {sample.id!r} has no tokens: there is nothing to ask about.")
            self._windows[number] = cut
        return self._windows[number]

    def memories(self, number: int, ratio: int) -> list[Memory]:
        """Return the memories of a document's windows, in order."""
        if ratio == self._held and number in self._memories:
            return self._memories[number]
        made = self.model.compress([window.ids for window in self.windows(number)], ratio, untrained=True)
        size = sum(tensor.nbytes for memory in made for tensor in memory.values())
        if ratio == self._held and size <= self._room:
            self._memories[number] = made
            self._room -= size
        return made

    def slots(self, number: int, ratio: int) -> int:
        """Return how many slots a document has at a ratio."""
        return sum(self.model.slots(len(window.ids), ratio) for window in self.windows(number))

    def tokens(self, number: int) -> list[int]:
        """Return the token ids of a document."""
        encoded = self.model.tokenizer(
            self.samples[number].text, add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        ids: list[int] = encoded["input_ids"]
        return ids

    def others(self, number: int) -> list[int]:
        """Return the other documents of the same set, in a chance order that is the same at every run."""
        own = self.samples[number]
        found = [
            other for other, sample in enumerate(self.samples) if sample.task == own.task and sample.text != own.text
        ]
        return self.chance(number).sample(found, len(found))

    def chance(self, *what: int) -> Random:
        """Return a source of chance that is the same at every run for the same numbers."""
        return Random(":".join(map(str, (self._seed, *what))))


def read_clear(model: RCCModel, tokens: Sequence[int]) -> Prefix:
    """Let a model's decoder read an uncompressed text after the opening of its prompt.

    Args:
        model: The model.
        tokens: Token ids of the text.

    Raises:
        BudgetError: If the text does not fit the decoder's positions.
    """
    length = model.text_prefix().length + len(tokens)
    if length >= model.reach:
        raise BudgetError(
            f"{length} tokens of uncompressed text do not fit into the {model.reach} positions of the decoder."
        )
    if not tokens:
        return model.text_prefix()
    with torch.no_grad():
        return model.read_text_prefix(tokens)
