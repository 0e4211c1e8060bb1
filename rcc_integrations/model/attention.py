"""Attention of a short question over long memory, for models whose heads share keys and values.

With a mask, transformers repeats keys and values for every head before it calls torch's kernel, which for long memory
costs more than the question's whole pass. Here the heads of a group become further rows of one head: nothing is
repeated, and keys and values are read once for all of them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

#: The name under which transformers knows it.
NAME = "rcc_sdpa"


def grouped_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attend as transformers' `sdpa` does.

    Args:
        module: The attention layer.
        query: Shape (batch, heads, rows, head width).
        key: Shape (batch, groups, entries, head width).
        value: Same shape.
        attention_mask: Shape (batch, 1, rows, entries), or none.
        **options: What `sdpa` takes.

    Returns:
        Shape (batch, rows, heads, head width), and no weights.
    """
    batch, heads, rows, width = query.shape
    groups = key.shape[1]
    short = attention_mask is not None and attention_mask.shape[1] == 1 and 2 * rows <= key.shape[2]
    if not short or heads == groups or torch.is_grad_enabled() or options.get("position_bias") is not None:
        found: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found
    assert attention_mask is not None
    attended = nn.functional.scaled_dot_product_attention(
        query.reshape(batch, groups, heads // groups * rows, width),
        key,
        value,
        attn_mask=attention_mask.repeat(1, 1, heads // groups, 1),
        scale=options.get("scaling"),
    )
    return attended.reshape(batch, heads, rows, -1).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
