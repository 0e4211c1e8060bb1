"""`residual` injection: RCC as published (arXiv 2406.06110).

A slot enters the decoder as E·h_0; after decoder layer i, A_i·h_{i+1} is added at its position. Slots attend to one
another in the decoder, so a prefix is computed for each ordered set of memories. What the published form adds after
the last layer is read by nobody (it meets no further attention) and is left out: a memory has one level a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from rcc_integrations.model.cache import cache_contents
from rcc_integrations.model.family import Family
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.projection import LevelProjections


def residual_memory(projections: LevelProjections, states: Tensor) -> Memory:
    """Project slot states; level 0 becomes the slot's input embedding, level l what is added after layer l − 1.

    Args:
        projections: The maps E, A_0, A_1, ….
        states: Encoder states, shape (levels, batch, slots, hidden).

    Returns:
        `state` of shape (batch, levels, slots, hidden).
    """
    return {"state": torch.stack([projections(states[level], level) for level in range(len(states))], dim=1)}


def residual_prefix(family: Family, text_embeddings: Tensor, memories: Sequence[Memory]) -> Prefix:
    """Run the decoder over clear text and memories together.

    Args:
        family: Parts of the decoder.
        text_embeddings: Embeddings of the clear text in front, shape (tokens, hidden); there may be none.
        memories: `state` of shape (levels, slots, hidden) each.

    Returns:
        The prefix.
    """
    state = torch.cat([memory["state"].to(text_embeddings) for memory in memories], dim=-2)
    start = text_embeddings.shape[0]
    inputs = torch.cat([text_embeddings, state[0]])[None]
    with _added_after_layers(family.layers, state[1:], start):
        output = family.body(inputs_embeds=inputs, past_key_values=DynamicCache(), use_cache=True)
    keys, values = cache_contents(output.past_key_values)
    return Prefix(keys[:, 0], values[:, 0], start, state.shape[-2])


@contextmanager
def _added_after_layers(layers: nn.ModuleList, additions: Tensor, start: int) -> Iterator[None]:
    def hook(addition: Tensor) -> Callable[..., Any]:
        def after(_: nn.Module, __: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            changed = torch.cat([hidden[:, :start], hidden[:, start:] + addition], dim=1)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return after

    pairs = zip(layers, additions, strict=False)
    handles = [layer.register_forward_hook(hook(addition)) for layer, addition in pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
