"""The maps from the encoder's levels to the decoder's."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rcc_integrations.config import Projection


class LevelProjections(nn.Module):
    """One map A_l a level, applied to encoder states before they enter the decoder.

    `identity` changes nothing; `low_rank` is A(x) = scale ∘ x + up (down x), which starts as the identity; `linear`
    is a full matrix, as in the released RCC checkpoints.

    Args:
        kind: Form of the maps.
        levels: How many.
        hidden: Width of encoder and decoder.
        rank: Rank of `low_rank` maps.
    """

    def __init__(self, kind: Projection, levels: int, hidden: int, rank: int = 0) -> None:
        super().__init__()
        self.kind, self.hidden = kind, hidden
        self.level = nn.ModuleList(_Level(kind, hidden, rank) for _ in range(levels))

    def forward(self, states: Tensor, level: int) -> Tensor:
        """Map the states of one level, shape (..., hidden), to the decoder's level of the same number."""
        mapped: Tensor = self.level[level](states)
        return mapped


class _Level(nn.Module):
    def __init__(self, kind: Projection, hidden: int, rank: int) -> None:
        super().__init__()
        self.kind = kind
        if kind == "low_rank":
            self.scale = nn.Parameter(torch.ones(hidden))
            self.down = nn.Parameter(torch.randn(rank, hidden) * hidden**-0.5)
            self.up = nn.Parameter(torch.zeros(hidden, rank))
        elif kind == "linear":
            self.weight = nn.Parameter(torch.eye(hidden))

    def forward(self, states: Tensor) -> Tensor:
        if self.kind == "low_rank":
            return self.scale * states + nn.functional.linear(nn.functional.linear(states, self.down), self.up)
        if self.kind == "linear":
            return nn.functional.linear(states, self.weight)
        return states
