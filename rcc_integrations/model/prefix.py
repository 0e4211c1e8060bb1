"""`Prefix`: what the decoder starts from, keys and values of clear text and memories in their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.room import Room


@dataclass(frozen=True, eq=False)
class Prefix:
    """Keys and values of everything in front of a question. Never written to once built.

    Args:
        keys: What all layers see, shape (layers, heads, entries, head width), rotated to its positions.
        values: Same shape.
        text_tokens: How many positions are uncompressed text.
        slots: How many are slots of memories.
        layers: With `focused` placement, the layers that see memory, ascending; then `keys` hold the text alone.
        layer_keys: What only those see, shape (len(layers), heads, entries, head width), rotated.
        layer_values: Same shape.
        room: What the layers that see memory read, memory and clear text in the order of the cache, in tensors with
            room behind them; `None` if the prefix was built without.
    """

    keys: Tensor
    values: Tensor
    text_tokens: int
    slots: int
    layers: tuple[int, ...] = ()
    layer_keys: Tensor | None = None
    layer_values: Tensor | None = None
    room: Room | None = None

    @property
    def length(self) -> int:
        """Positions in use."""
        return self.text_tokens + self.slots

    @property
    def layer_entries(self) -> int:
        """Entries that only some layers see."""
        return 0 if self.layer_keys is None else self.layer_keys.shape[-2]

    @property
    def nbytes(self) -> int:
        """Bytes that the tensors take."""
        tensors = [self.keys, self.values, self.layer_keys, self.layer_values]
        if self.room is not None:
            # The others, but for the text that all layers see, are views of these.
            tensors = [*tensors[: 2 if self.layers else 0], self.room.keys, self.room.values]
        return sum(tensor.nbytes for tensor in tensors if tensor is not None)


@dataclass(frozen=True, eq=False)
class PrefixBatch:
    """Prefixes brought into one batch, each padded on the left.

    Args:
        keys: One tensor a layer, shape (batch, heads, entries, head width); what only some layers see comes first.
        values: Likewise.
        used: Which entries of the longest layers are no padding, shape (batch, entries), int64.
        lengths: Positions in use, one number a prefix.
        layers: The layers that see all entries; all of them if empty.
        extra: How many entries the other layers lack at the front.
        room: Where the layers that see all entries lie, if it is a batch of one and they were not copied.
    """

    keys: list[Tensor]
    values: list[Tensor]
    used: Tensor
    lengths: list[int]
    layers: tuple[int, ...]
    extra: int
    room: Room | None = None

    @property
    def places(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Keys and values with the room behind them, by layer; for layers that were not copied."""
        if self.room is None:
            return {}
        pairs = zip(self.room.keys[:, None], self.room.values[:, None], strict=True)
        return dict(zip(self.layers or range(len(self.keys)), pairs, strict=True))


def stack_prefixes(prefixes: Sequence[Prefix]) -> PrefixBatch:
    """Bring prefixes of several lengths into one batch.

    Args:
        prefixes: At least one; those with `layers` have the same ones.

    Raises:
        ConfigError: If memories are in different layers: they were made at different ratios.
    """
    if len(prefixes) == 1 and prefixes[0].room is not None:
        return _alone(prefixes[0], prefixes[0].room)
    layers = {prefix.layers for prefix in prefixes if prefix.layer_keys is not None}
    if len(layers) > 1:
        raise ConfigError(f"Prefixes with memory in different layers cannot share a batch: {sorted(layers)}.")
    keys, values, used = _padded([(prefix.keys, prefix.values) for prefix in prefixes])
    lengths = [prefix.length for prefix in prefixes]
    if not layers:
        return PrefixBatch(list(keys), list(values), used, lengths, (), 0)
    (seeing,) = layers
    nothing = keys.new_zeros(len(seeing), keys.shape[2], 0, keys.shape[4])
    more_keys, more_values, more_used = _padded(
        [(nothing, nothing) if prefix.layer_keys is None or prefix.layer_values is None
         else (prefix.layer_keys, prefix.layer_values) for prefix in prefixes]
    )  # fmt: skip
    all_keys, all_values = list(keys), list(values)
    for number, layer in enumerate(seeing):
        all_keys[layer] = torch.cat([more_keys[number], keys[layer]], dim=-2)
        all_values[layer] = torch.cat([more_values[number], values[layer]], dim=-2)
    used = torch.cat([more_used, used], dim=-1)
    return PrefixBatch(all_keys, all_values, used, lengths, seeing, more_keys.shape[-2])


def _alone(prefix: Prefix, room: Room) -> PrefixBatch:
    """Return a batch of one, nothing of it copied."""
    entries = prefix.layer_entries + prefix.keys.shape[-2]
    keys, values = list(prefix.keys[:, None]), list(prefix.values[:, None])
    for number, layer in enumerate(prefix.layers or range(len(keys))):
        keys[layer], values[layer] = room.keys[number, None, :, :entries], room.values[number, None, :, :entries]
    used = torch.ones(1, entries, dtype=torch.int64)
    return PrefixBatch(keys, values, used, [prefix.length], prefix.layers, prefix.layer_entries, room)


def _padded(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Stack keys and values on axis 1, padded on the left; also return which entries are no padding."""
    if len(pairs) == 1:
        ((keys, values),) = pairs
        return keys[:, None], values[:, None], torch.ones(1, keys.shape[-2], dtype=torch.int64)
    longest = max(keys.shape[-2] for keys, _ in pairs)
    layers, heads, _, width = pairs[0][0].shape
    all_keys = pairs[0][0].new_zeros(layers, len(pairs), heads, longest, width)
    all_values = torch.zeros_like(all_keys)
    used = torch.zeros(len(pairs), longest, dtype=torch.int64)
    for row, (keys, values) in enumerate(pairs):
        start = longest - keys.shape[-2]
        all_keys[:, row, :, start:] = keys
        all_values[:, row, :, start:] = values
        used[row, start:] = 1
    return all_keys, all_values, used
