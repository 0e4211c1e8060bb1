from __future__ import annotations

import torch

from rcc_integrations.model.prefix import Prefix
from rcc_integrations.reader.prefix_cache import PrefixCache


def prefix(slots: int) -> Prefix:
    tensor = torch.zeros(1, 1, slots, 4)
    return Prefix(tensor, tensor.clone(), 0, slots)  # 32 bytes a slot


def test_bounded_by_bytes_and_last_use():
    cache = PrefixCache(limit=320)
    first, second, third = prefix(4), prefix(4), prefix(4)
    cache.put("a", first)
    cache.put("b", second)
    assert cache.get("a") is first
    cache.put("c", third)
    assert cache.get("b") is None
    assert cache.get("a") is first
    assert cache.nbytes == 256
    cache.put("big", prefix(11))
    assert cache.get("big") is None
    assert cache.nbytes == 256
    cache.put("a", second)
    assert cache.nbytes == 256
    assert cache.get("a") is second


def test_no_cache_at_all():
    cache = PrefixCache(limit=0)
    cache.put("a", prefix(1))
    assert cache.get("a") is None
    assert cache.nbytes == 0
