"""`kv` injection: a slot's keys and values in every layer are its memory.

The input of decoder layer l at a slot is A_l·h_l; what the layer's own norm and projections make of it as key and
value is all that later positions can see of it. Slots do not depend on one another, so a memory is final when its
window is compressed. Keys are kept before rotation and rotated to their place when memories are put together. With
`focused` placement only the layers that read most have memory; the others see the clear text and the question alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.cache import Captured, CapturingCache
from rcc_integrations.model.family import Family, rotate
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.projection import LevelProjections
from rcc_integrations.model.room import Room, spare
from rcc_integrations.model.slots import SlotLayout

Memory = dict[str, Tensor]


def kv_memory(family: Family, projections: LevelProjections, states: Tensor, levels: Sequence[int]) -> Memory:
    """Turn slot states into keys and values.

    A layer is called with the neutral rotation (cos 1, sin 0) and a cache that ends the call when keys and values
    arrive there, so norms, biases, fused projections and key norms of any family are the layer's own.

    Args:
        family: Parts of the decoder.
        projections: The maps A_l.
        states: Encoder states, shape (levels, batch, entries, hidden).
        levels: The level of each; level l becomes memory of decoder layer l.

    Returns:
        `key` and `value`, each of shape (batch, levels, heads, entries, head width).
    """
    cos, sin = family.rotation(torch.zeros(1, dtype=torch.int64, device=states.device), states)
    neutral = (torch.ones_like(cos), torch.zeros_like(sin))
    keys, values = [], []
    for state, level in zip(states, levels, strict=True):
        try:
            family.layers[level](
                projections(state, level),
                attention_mask=None,
                position_embeddings=neutral,
                use_cache=True,
                **{family.cache_argument: CapturingCache()},
            )
        except Captured as captured:
            keys.append(captured.key)
            values.append(captured.value)
    return {"key": torch.stack(keys, dim=1), "value": torch.stack(values, dim=1)}


def loaded_prefix(
    family: Family, text: Prefix, entries: Sequence[int], load: Callable[[int, Memory], None], layout: SlotLayout
) -> Prefix:
    """Put memories behind clear text as `kv_prefix` does, each written straight into its place.

    Nothing of the size of all memories is made but the prefix itself.

    Args:
        family: Parts of the decoder.
        text: The clear text, already read by the decoder.
        entries: Entries of each memory.
        load: Writes the memory of a number into `key` and `value` of shape (levels, heads, entries, head width).
        layout: Of these memories.

    Returns:
        The whole prefix, with room behind it.
    """
    if not entries:
        return text
    places, end = [], text.length
    for count in entries:
        places.append(layout.places(count) + end)
        end = int(places[-1][-1]) + 1
    cos, sin = family.rotation(torch.cat(places).to(text.keys.device), text.keys)
    focused = len(layout.levels) < len(text.keys)
    # In front of the clear text where only some layers have memory, see `uneven_layers`.
    total, clear = sum(entries), text.keys.shape[-2]
    start, text_start = (0, total) if focused else (clear, 0)
    shape = (len(layout.levels), text.keys.shape[1], total + clear + spare(total), text.keys.shape[-1])
    keys, values = text.keys.new_empty(shape), text.values.new_empty(shape)
    seeing = list(layout.levels)
    keys[..., text_start : text_start + clear, :] = text.keys[seeing]
    values[..., text_start : text_start + clear, :] = text.values[seeing]
    done = 0
    for number, count in enumerate(entries):
        here = slice(start + done, start + done + count)
        key, value = keys[..., here, :], values[..., here, :]
        load(number, {"key": key, "value": value})
        key.copy_(rotate(key, cos[:, done : done + count], sin[:, done : done + count]))
        done += count
    room, slots = Room(keys, values), end - text.length
    if focused:
        memory = keys[..., :total, :], values[..., :total, :]
        return Prefix(text.keys, text.values, text.text_tokens, slots, layout.levels, *memory, room)
    whole = keys[..., : clear + total, :], values[..., : clear + total, :]
    return Prefix(*whole, text.text_tokens, slots, room=room)


def kv_prefix(family: Family, text: Prefix, memories: Sequence[Memory], layout: SlotLayout) -> Prefix:
    """Put memories behind clear text, in order, their slots at consecutive positions, with gradients where wanted.

    Args:
        family: Parts of the decoder.
        text: The clear text, already read by the decoder.
        memories: `key` and `value` of shape (levels, heads, entries, head width) each.
        layout: Of these memories.

    Returns:
        The whole prefix.

    Raises:
        ConfigError: If a memory has another number of levels than the layout.
    """
    if not memories:
        return text
    if odd := {memory["key"].shape[0] for memory in memories} - {len(layout.levels)}:
        raise ConfigError(
            f"A memory has {odd.pop()} levels; at ratio {layout.ratio} it has {len(layout.levels)}. "
            "Say with ratio= at which ratio memories were made."
        )
    places, end = [], text.length
    for memory in memories:
        own = layout.places(memory["key"].shape[-2]) + end
        places.append(own)
        end = int(own[-1]) + 1
    turn = family.rotation(torch.cat(places).to(text.keys.device), text.keys)
    keys = rotate(torch.cat([memory["key"].to(text.keys) for memory in memories], dim=-2), *turn)
    values = torch.cat([memory["value"].to(text.values) for memory in memories], dim=-2)
    slots = end - text.length
    if len(layout.levels) < len(text.keys):
        return Prefix(text.keys, text.values, text.text_tokens, slots, layout.levels, keys, values)
    whole = (torch.cat([text.keys, keys], dim=-2), torch.cat([text.values, values], dim=-2))
    return Prefix(*whole, text.text_tokens, slots)
