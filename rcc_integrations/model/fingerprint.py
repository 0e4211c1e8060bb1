"""Fingerprints: which model made a memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor

from rcc_integrations.config import FORMAT, RCCConfig
from rcc_integrations.model.slots import SlotLayout


def weights_digest(tensors: Iterable[tuple[str, Tensor]]) -> str:
    """Return a hash over named tensors, the same for weights that were loaded in another number format.

    Values are hashed as bfloat16, so a model read in float32 on a laptop and in bfloat16 on a server are one.

    Args:
        tensors: Pairs of name and tensor, in any order.

    Returns:
        32 hex digits.
    """

    def one(pair: tuple[str, Tensor]) -> bytes:
        name, tensor = pair
        digest = hashlib.blake2b(f"{name}:{tuple(tensor.shape)}:".encode(), digest_size=16)
        plain = tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16)
        digest.update(plain.numpy().data)
        return digest.digest()

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(one, sorted(tensors, key=lambda pair: pair[0])))
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()


def fingerprint(config: RCCConfig, weights: str, layout: SlotLayout) -> str:
    """Return the fingerprint of memories made by a model at a ratio.

    Args:
        config: The model's settings; those that shape a memory count.
        weights: Hash over all weights, base, adapters and projections.
        layout: What a memory holds: ratio, placement, levels.

    Returns:
        32 hex digits.
    """
    parts: dict[str, Any] = {
        "format": FORMAT,
        "weights": weights,
        "ratio": layout.ratio,
        "window": config.window,
        "injection": config.injection,
        "placement": layout.placement,
        "projection": config.projection,
        "filling": config.filling,
    }
    if layout.placement == "focused":
        parts["levels"] = layout.levels
    return hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()


def blob_key(made_by: str, storage: str, ids: Iterable[int]) -> str:
    """Return the name of a window's memory: a hash over fingerprint, stored number format and token ids.

    Args:
        made_by: Fingerprint of the model.
        storage: Stored number format, such as `int8`.
        ids: The window's token ids.

    Returns:
        64 hex digits.
    """
    digest = hashlib.blake2b(f"{made_by}:{storage}:".encode(), digest_size=32)
    digest.update(b"".join(token.to_bytes(4, "little") for token in ids))
    return digest.hexdigest()
