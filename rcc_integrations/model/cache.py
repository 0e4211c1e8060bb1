"""All that the package knows of transformers' key/value caches.

The cache classes change with most releases of transformers; nothing outside this module touches their insides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

from rcc_integrations.errors import ModelError


class Captured(Exception):
    """Carries the keys and values of a layer out of its forward pass, which ends there."""

    def __init__(self, key: Tensor, value: Tensor) -> None:
        super().__init__()
        self.key = key
        self.value = value


class CapturingCache(DynamicCache):
    """A cache that ends the forward pass of a layer as soon as its keys and values are known."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Raise `Captured` with the states instead of storing them."""
        raise Captured(key_states, value_states)


class RoomyLayer(DynamicLayer):
    """A cache layer with room to grow: a new token is written in place, not joined to a copy of all before it.

    Args:
        keys: Shape (batch, heads, length, head width); copied, never written to.
        values: Same shape.
        room: How many further positions to make room for.
        within: Tensors that begin with these keys and values and may be written to behind them: nothing is copied.
    """

    def __init__(self, keys: Tensor, values: Tensor, room: int, within: tuple[Tensor, Tensor] | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lazy_initialization(keys, values)
        self._length = keys.shape[-2]
        if within is not None:
            self._all_keys, self._all_values = within
        else:
            shape = (*keys.shape[:-2], self._length + room, keys.shape[-1])
            self._all_keys, self._all_values = keys.new_empty(shape), values.new_empty(shape)
            self._all_keys[..., : self._length, :] = keys
            self._all_values[..., : self._length, :] = values
        self._show()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append states of shape (batch, heads, new, head width) and return all."""
        end = self._length + key_states.shape[-2]
        if end > self._all_keys.shape[-2]:
            extra = max(end - self._all_keys.shape[-2], self._length // 4 + 16)
            self._all_keys = torch.nn.functional.pad(self._all_keys, (0, 0, 0, extra))
            self._all_values = torch.nn.functional.pad(self._all_values, (0, 0, 0, extra))
        self._all_keys[..., self._length : end, :] = key_states
        self._all_values[..., self._length : end, :] = value_states
        self._length = end
        return self._show()

    def _show(self) -> tuple[Tensor, Tensor]:
        keys, values = self._all_keys[..., : self._length, :], self._all_values[..., : self._length, :]
        self.keys, self.values = keys, values
        return keys, values


class UnevenCache(Cache):
    """A cache whose layers differ in length; masks and positions go by the longest."""

    def __init__(self, layers: list[Any]) -> None:
        super().__init__(layers=layers)
        self._longest = max(layers, key=lambda layer: layer.keys.shape[-2])

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the length of the longest layer."""
        return int(self._longest.get_seq_length())

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Return length and offset of the longest layer's mask."""
        length, offset = self._longest.get_mask_sizes(query_length)
        return int(length), int(offset)


@contextmanager
def uneven_layers(layers: nn.ModuleList, seeing: Collection[int], extra: int) -> Iterator[None]:
    """Cut the attention mask for the layers of an `UnevenCache` that are shorter.

    Args:
        layers: The decoder's layers.
        seeing: The numbers of those that see everything; all if empty.
        extra: How many entries the others lack at the front.
    """

    def cut(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mask = kwargs.get("attention_mask")
        return (args, kwargs) if mask is None else (args, {**kwargs, "attention_mask": mask[..., extra:]})

    shorter = [layer for number, layer in enumerate(layers) if number not in seeing] if seeing else []
    handles = [layer.register_forward_pre_hook(cut, with_kwargs=True) for layer in shorter]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def roomy_cache(
    keys: Sequence[Tensor],
    values: Sequence[Tensor],
    room: int,
    within: Mapping[int, tuple[Tensor, Tensor]] | None = None,
) -> Cache:
    """Return a cache for generation that starts from given keys and values and leaves them untouched.

    Args:
        keys: One tensor a layer, shape (batch, heads, length, head width), rotated; lengths may differ.
        values: Likewise.
        room: Positions that generation will add.
        within: For layers that need not be copied, see `RoomyLayer`.
    """
    within = within or {}
    pairs = enumerate(zip(keys, values, strict=True))
    return UnevenCache([RoomyLayer(key, value, room, within.get(layer)) for layer, (key, value) in pairs])


def growing_cache(keys: Sequence[Tensor], values: Sequence[Tensor]) -> Cache:
    """Return a cache that starts from given keys and values and lets gradients through.

    Args:
        keys: One tensor a layer, shape (batch, heads, length, head width), rotated; lengths may differ.
        values: Likewise.
    """
    layers = []
    for key, value in zip(keys, values, strict=True):
        layer = cast(Any, DynamicLayer)()
        layer.lazy_initialization(key, value)
        layer.keys, layer.values = key, value
        layers.append(layer)
    return UnevenCache(layers)


def cache_contents(cache: Cache) -> tuple[Tensor, Tensor]:
    """Return all keys and all values of a cache, each of shape (layers, batch, heads, length, head width)."""
    layers: list[Any] = cache.layers
    return torch.stack([layer.keys for layer in layers]), torch.stack([layer.values for layer in layers])


def attention_reach(config: PretrainedConfig) -> int:
    """Return how many positions every layer of a model can attend over: its length, or a shorter sliding window.

    Raises:
        ModelError: If the config does not say how many positions the model has.
    """
    config = config.get_text_config(decoder=True)
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int):
        raise ModelError(f"The config of {config.model_type} has no max_position_embeddings.")
    sliding = attention_window(config)
    return positions if sliding is None else min(positions, sliding)


def attention_window(config: PretrainedConfig) -> int | None:
    """Return over how many entries the sliding layers of a model attend; None if it has none."""
    config = config.get_text_config(decoder=True)
    sliding = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None) or []
    return sliding if isinstance(sliding, int) and (not kinds or "sliding_attention" in kinds) else None
