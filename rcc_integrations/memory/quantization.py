"""How memory tensors are stored: as int8 with a scale for every slot, level and head, or as plain floats.

An int8 tensor `name` becomes two: `name.q` (int8, same shape) and `name.scale` (float16, last axis of length 1).
The error of a value is at most half its scale, and the scale is the vector's largest magnitude divided by 127, rounded
up to float16 (never below 2⁻²⁴).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from rcc_integrations.errors import ConfigError, CorruptBlobError, ModelError
from rcc_integrations.memory.records import check_storage

QUANTIZED = ".q"
SCALE = ".scale"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}
_STORED = {"bfloat16": torch.bfloat16, "float32": torch.float32}
_LARGEST_SCALE = torch.finfo(torch.float16).max


def encode(tensors: Mapping[str, Tensor], storage: str = "int8") -> dict[str, Tensor]:
    """Bring memory tensors into their stored form, on the CPU.

    Args:
        tensors: Floating tensors by name; slots on axis -2, for instance `[levels, heads, slots, head_dim]`.
        storage: `int8`, `bfloat16` or `float32`.

    Returns:
        Contiguous CPU tensors: `name.q` and `name.scale` for int8, else `name`.

    Raises:
        ConfigError: An unknown storage, a bad name, a tensor that is not floating, empty or without two axes, or
            values too large for the storage.
        ModelError: A tensor contains NaN or infinity.
    """
    check_storage(storage)
    if not tensors:
        raise ConfigError("There is no tensor to store: a memory needs at least one.")
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = _check(name, tensor)
        if storage == "int8":
            stored[name + QUANTIZED], stored[name + SCALE] = _quantize(name, value)
        else:
            stored[name] = value.to(_STORED[storage]).contiguous()
            if not torch.isfinite(stored[name]).all():
                raise ConfigError(f"Tensor {name!r} has values too large for {storage}: store it as float32.")
    return stored


def decode(tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Bring stored tensors back to floats.

    Args:
        tensors: What `encode` gave, or a blob as it was read.
        dtype: The floating type wanted; the product with the scale is taken in float32 and then rounded.

    Returns:
        New tensors by logical name. A float that already has the dtype may share memory with the blob.

    Raises:
        CorruptBlobError: A quantised tensor and its scale do not belong together.
    """
    decoded: dict[str, Tensor] = {}
    for name in logical_names(tensors):
        if name in tensors:
            decoded[name] = tensors[name].to(dtype)
            continue
        scale = tensors[name + SCALE].to(torch.float32)
        decoded[name] = tensors[name + QUANTIZED].to(torch.float32).mul_(scale).to(dtype)
    return decoded


def decode_into(tensors: Mapping[str, Tensor], places: Mapping[str, Tensor]) -> None:
    """Write stored tensors as floats into tensors that are there already, with the values that `decode` gives.

    Args:
        tensors: A blob as it was read.
        places: Floating tensors of the shapes of the stored ones, by logical name, on any device.

    Raises:
        KeyError: The blob lacks one of them.
    """
    for name, place in places.items():
        if name in tensors:
            place.copy_(tensors[name])
            continue
        q = tensors[name + QUANTIZED].to(place.device, non_blocking=True)
        scale = tensors[name + SCALE].to(place.device, torch.float32)
        if place.dtype == torch.float32:
            place.copy_(q).mul_(scale)
        else:
            place.copy_(q.to(torch.float32).mul_(scale))


def logical_names(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return the names that stored tensors stand for, in order, each once.

    Raises:
        CorruptBlobError: Half of a quantised pair is missing, types or shapes of a pair do not fit, or a name is
            there in both forms.
    """
    names: dict[str, None] = {}
    for stored, tensor in tensors.items():
        name = stored.removesuffix(QUANTIZED).removesuffix(SCALE)
        names[name] = None
        if stored == name:
            if tensor.dtype not in _FLOATS:
                raise CorruptBlobError(f"Stored tensor {stored!r} is {tensor.dtype}, not floating.")
            continue
        q, scale = tensors.get(name + QUANTIZED), tensors.get(name + SCALE)
        if q is None or scale is None or name in tensors:
            raise CorruptBlobError(f"Stored tensor {stored!r} lacks the other half of its pair, or is there twice.")
        if q.dtype != torch.int8 or scale.dtype != torch.float16:
            raise CorruptBlobError(f"Stored tensor {name!r} is {q.dtype} with a scale of {scale.dtype}.")
        if q.ndim < 2 or scale.shape != (*q.shape[:-1], 1):
            raise CorruptBlobError(
                f"Stored tensor {name!r} of shape {list(q.shape)} has a scale of shape {list(scale.shape)}."
            )
    return list(names)


def _check(name: str, tensor: Tensor) -> Tensor:
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise ConfigError(f"Tensor name {name!r} is not of letters, digits and '_', starting with a letter.")
    if not isinstance(tensor, Tensor) or tensor.dtype not in _FLOATS:
        kind = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise ConfigError(f"Memory {name!r} must be a floating tensor, not {kind}.")
    if tensor.ndim < 2 or tensor.numel() == 0:
        raise ConfigError(f"Memory {name!r} has shape {list(tensor.shape)}: it needs […, slots, size], none of them 0.")
    value = tensor.detach().cpu()
    if not torch.isfinite(value).all():
        raise ModelError(
            f"Memory {name!r} holds NaN or infinity and is not stored: the model overflowed. Run it in a wider type "
            "(bfloat16 or float32)."
        )
    return value


def _quantize(name: str, value: Tensor) -> tuple[Tensor, Tensor]:
    value = value.to(torch.float32)
    largest = value.abs().amax(dim=-1, keepdim=True)
    exact = largest / 127
    if bool((exact > _LARGEST_SCALE).any()):
        raise ConfigError(
            f"Memory {name!r} has values beyond {127 * _LARGEST_SCALE:,.0f}, too large for int8: store it as bfloat16."
        )
    scale = exact.to(torch.float16)
    # Rounded up, so that no value is clipped: also right among subnormal scales, where the steps are coarse. The next
    # float16 of a value that is not negative is the next integer of its bits.
    below = (scale.to(torch.float32) < exact) | ((scale == 0) & (largest > 0))
    scale = (scale.view(torch.int16) + below.to(torch.int16)).view(torch.float16)
    divisor = torch.where(scale > 0, scale, torch.ones_like(scale)).to(torch.float32)
    quantized = (value / divisor).round_().clamp_(-127, 127).to(torch.int8)
    return quantized.contiguous(), scale.contiguous()
