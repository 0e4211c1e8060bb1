"""Checks that a blob holds what a model expects of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory.quantization import QUANTIZED, SCALE, logical_names
from rcc_integrations.memory.tensor_file import MAX_HEADER


def check_blob(tensors: Mapping[str, Tensor], spec: Mapping[str, Sequence[int]], *, entries: int | None = None) -> int:
    """Refuse tensors whose names, types or shapes do not fit a model.

    Args:
        tensors: A blob as it was read (stored form) or decoded.
        spec: For every logical name its shape without the entries, which come before the last axis: `{"key": (levels,
            heads, head_dim)}` stands for `[levels, heads, entries, head_dim]`.
        entries: How many a window of that length has; None takes any number.

    Returns:
        The number of entries.

    Raises:
        CorruptBlobError: Something does not fit, or is not finite; the message names the tensor, what is there and
            what should be.
    """
    names = logical_names(tensors)
    if set(names) != set(spec):
        raise CorruptBlobError(f"A memory holds the tensors {sorted(names)}; the model expects {sorted(spec)}.")
    for name in names:
        shape = tuple((tensors[name] if name in tensors else tensors[name + QUANTIZED]).shape)
        *outer, last = spec[name]
        if len(shape) != len(outer) + 2 or shape[:-2] != tuple(outer) or shape[-1] != last:
            expected = ", ".join([*map(str, outer), "entries", str(last)])
            raise CorruptBlobError(f"Memory {name!r} has shape {list(shape)}; the model expects [{expected}].")
        if entries is None:
            entries = shape[-2]
        if shape[-2] != entries or entries < 1:
            raise CorruptBlobError(f"Memory {name!r} has {shape[-2]} entries; {entries} are expected.")
        # Of an int8 tensor only the scales can be anything but finite.
        numbers = tensors[name] if name in tensors else tensors[name + SCALE]
        if not torch.isfinite(numbers).all():
            raise CorruptBlobError(f"Memory {name!r} holds NaN or infinity, which no model of ours stores.")
    assert entries is not None
    return entries


def most_bytes(spec: Mapping[str, Sequence[int]], entries: int) -> int:
    """Return the most bytes that a blob of so many entries can have, in whatever storage.

    Args:
        spec: As for `check_blob`.
        entries: Entries of its window.
    """
    return MAX_HEADER + entries * sum(4 * math.prod(shape) for shape in spec.values())
