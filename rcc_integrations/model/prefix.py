"""`Prefix`: what the decoder starts from, keys and values of clear text and memories in their places."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of everything in front of a question. Never written to once built.

    Args:
        keys: Shape (layers, heads, positions, head width), rotated to positions 0, 1, ….
        values: Same shape.
        text_tokens: How many positions are uncompressed text.
        slots: How many are slots of memories.
    """

    keys: Tensor
    values: Tensor
    text_tokens: int
    slots: int

    @property
    def length(self) -> int:
        """Positions in use."""
        return self.text_tokens + self.slots

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        return self.keys.nbytes + self.values.nbytes


def stack_prefixes(prefixes: list[Prefix]) -> tuple[Tensor, Tensor, Tensor]:
    """Bring prefixes of several lengths into one batch, padded on the left.

    Args:
        prefixes: At least one.

    Returns:
        Keys and values of shape (layers, batch, heads, positions, head width), and the mask of used positions,
        shape (batch, positions), int64.
    """
    if len(prefixes) == 1:
        (only,) = prefixes
        return only.keys[:, None], only.values[:, None], torch.ones(1, only.length, dtype=torch.int64)
    longest = max(prefix.length for prefix in prefixes)
    mask = torch.zeros(len(prefixes), longest, dtype=torch.int64)
    layers, heads, _, width = prefixes[0].keys.shape
    keys = prefixes[0].keys.new_zeros(layers, len(prefixes), heads, longest, width)
    values = torch.zeros_like(keys)
    for row, prefix in enumerate(prefixes):
        start = longest - prefix.length
        keys[:, row, :, start:] = prefix.keys
        values[:, row, :, start:] = prefix.values
        mask[row, start:] = 1
    return keys, values, mask
