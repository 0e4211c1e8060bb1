"""`SlotLayout`: where the slots of a window are, and what a memory keeps of their tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rcc_integrations.config import Placement, RCCConfig
from rcc_integrations.errors import ConfigError


def slot_count(tokens: int, ratio: int) -> int:
    """Return how many slots a window of `tokens` tokens has: one a run of `ratio`, the last run may be shorter."""
    return -(-tokens // ratio)


@dataclass(frozen=True)
class SlotLayout:
    """What a memory holds at one ratio.

    A slot is a run of `ratio` tokens and takes one position of the decoder. At each of its levels a memory has
    entries: one a slot, or, with `focused` placement, one a token. Both ways a slot has about as many entries as
    the model has levels, so a memory is `ratio` times smaller than a full key/value cache.

    Args:
        ratio: Source tokens a slot, r.
        placement: Which tokens entries are taken from.
        levels: The levels that a memory has, ascending: all of them, or the chosen ones with `focused` placement.
    """

    ratio: int
    placement: Placement
    levels: tuple[int, ...]

    @classmethod
    def of(cls, config: RCCConfig, levels: int, ratio: int) -> SlotLayout:
        """Return the layout of a model's memories.

        Args:
            config: The model's settings.
            levels: How many levels the model has, one a decoder layer.
            ratio: Compression ratio.

        Raises:
            ConfigError: If no level would be left.
        """
        if config.placement == "focused" and ratio > levels:
            raise ConfigError(
                f"ratio {ratio} leaves no layer with memory: with focused placement {config.base!r} goes up to "
                f"{levels}, one layer of {levels}."
            )
        chosen = config.layers[: levels // ratio] if config.placement == "focused" and ratio > 1 else range(levels)
        return cls(ratio, config.placement, tuple(sorted(chosen)))

    @property
    def per_slot(self) -> int:
        """Entries of a slot at each level; the last slot of a window may have fewer."""
        return self.ratio if self.placement == "focused" else 1

    def slots(self, tokens: int) -> int:
        """Return how many slots a window of so many tokens has."""
        return slot_count(tokens, self.ratio)

    def entries(self, tokens: int) -> int:
        """Return how many entries each level of the memory of a window has."""
        return tokens if self.placement == "focused" else self.slots(tokens)

    def sources(self, tokens: int) -> Tensor:
        """Return the token that every entry is taken from.

        As published (arXiv 2406.06110) every level of slot j is taken at its run's last token t = min((j+1)·r, n) − 1;
        with `staggered`, level l is taken at t − (l mod r). With `focused`, entry i is token i at every level.

        Args:
            tokens: Length n of the window.

        Returns:
            Positions of shape (levels, entries), int64.
        """
        if self.placement == "focused":
            return torch.arange(tokens).expand(len(self.levels), -1)
        last = (torch.arange(1, self.slots(tokens) + 1) * self.ratio - 1).clamp(max=tokens - 1)
        levels = torch.tensor(self.levels, dtype=torch.int64)
        shift = levels % self.ratio if self.placement == "staggered" else torch.zeros_like(levels)
        return (last[None, :] - shift[:, None]).clamp(min=0)

    def places(self, entries: int) -> Tensor:
        """Return the slot of every entry, shape (entries,), int64: the tokens of a run share a position."""
        return torch.arange(entries) // self.per_slot
