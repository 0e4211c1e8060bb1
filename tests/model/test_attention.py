from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from rcc_integrations.model.attention import grouped_attention


@pytest.mark.parametrize(
    ("heads", "groups", "rows", "entries"), [(9, 3, 5, 40), (4, 2, 1, 9), (4, 4, 3, 30), (4, 2, 7, 8)]
)
@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_it_attends_as_transformers_does(heads, groups, rows, entries, kind):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, count, length, 16) for count, length in
                         ((heads, rows), (groups, entries), (groups, entries)))  # fmt: skip
    seen = torch.rand(2, 1, rows, entries) < 0.7
    seen[..., 0] = True
    mask = seen if kind == torch.bool else torch.zeros(seen.shape).masked_fill(~seen, float("-inf"))
    layer = SimpleNamespace(num_key_value_groups=heads // groups, is_causal=True)
    with torch.no_grad():
        ours, _ = grouped_attention(layer, query, key, value, mask, scaling=0.3, dropout=0.0)
        theirs, _ = sdpa_attention_forward(layer, query, key, value, mask, scaling=0.3, dropout=0.0)
    assert ours.shape == theirs.shape == (2, rows, heads, 16)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
