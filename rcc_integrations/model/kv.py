"""`kv` injection: a slot's keys and values in every layer are its memory.

The input of decoder layer l at a slot is A_l·h_l; what the layer's own norm and projections make of it as key and
value is all that later positions can see of it. Slots do not depend on one another, so a memory is final when its
window is compressed. Keys are kept before rotation and rotated to their place when memories are put together.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rcc_integrations.model.cache import Captured, CapturingCache
from rcc_integrations.model.family import Family, rotate
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.projection import LevelProjections

Memory = dict[str, Tensor]


def kv_memory(family: Family, projections: LevelProjections, states: Tensor) -> Memory:
    """Turn slot states into keys and values.

    A layer is called with the neutral rotation (cos 1, sin 0) and a cache that ends the call when keys and values
    arrive there, so norms, biases, fused projections and key norms of any family are the layer's own.

    Args:
        family: Parts of the decoder.
        projections: The maps A_l.
        states: Encoder states, shape (levels, batch, slots, hidden), one level a decoder layer.

    Returns:
        `key` and `value`, each of shape (batch, levels, heads, slots, head width).
    """
    cos, sin = family.rotation(torch.zeros(1, dtype=torch.int64, device=states.device), states)
    neutral = (torch.ones_like(cos), torch.zeros_like(sin))
    keys, values = [], []
    for level, layer in enumerate(family.layers):
        try:
            layer(
                projections(states[level], level),
                attention_mask=None,
                position_embeddings=neutral,
                use_cache=True,
                **{family.cache_argument: CapturingCache()},
            )
        except Captured as captured:
            keys.append(captured.key)
            values.append(captured.value)
    return {"key": torch.stack(keys, dim=1), "value": torch.stack(values, dim=1)}


def kv_prefix(family: Family, text: Prefix, memories: Sequence[Memory]) -> Prefix:
    """Put memories behind clear text, in order, at consecutive positions.

    Args:
        family: Parts of the decoder.
        text: The clear text, already read by the decoder.
        memories: `key` and `value` of shape (levels, heads, slots, head width) each.

    Returns:
        The whole prefix.
    """
    if not memories:
        return text
    start = text.length
    keys = torch.cat([text.keys, *(memory["key"].to(text.keys) for memory in memories)], dim=-2)
    values = torch.cat([text.values, *(memory["value"].to(text.values) for memory in memories)], dim=-2)
    slots = keys.shape[-2] - start
    places = torch.arange(start, start + slots, device=keys.device)
    keys[..., start:, :] = rotate(keys[..., start:, :], *family.rotation(places, keys))
    return Prefix(keys, values, text.text_tokens, slots)
