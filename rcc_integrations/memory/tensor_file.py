"""Reads a safetensors file that is mapped into memory: every tensor is a view of the map, nothing is copied.

The safetensors library writes these files and reads them too; its reader opens a path, while here the very bytes whose
checksum was verified become the tensors.
"""

from __future__ import annotations

import math
import mmap
from typing import Any

import torch
from torch import Tensor

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory.json_value import loads

MAX_HEADER = 1 << 20
MAX_AXES = 8

_DTYPES = {"I8": torch.int8, "F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def parse(data: mmap.mmap | bytearray, where: str) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, as views of its bytes.

    Args:
        data: The whole file, in a writable buffer (a private map is one).
        where: What to call the file in an error.

    Raises:
        CorruptBlobError: The file is not well-formed safetensors, or holds types that memories never have.
    """
    if len(data) < 8:
        raise CorruptBlobError(f"{where} is truncated: {len(data)} bytes.")
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER, len(data) - 8):
        raise CorruptBlobError(f"{where} has a header of {length:,} bytes, in a file of {len(data):,}.")
    try:
        header: Any = loads(bytes(data[8 : 8 + length]).decode("utf-8"))
    except ValueError as error:
        raise CorruptBlobError(f"{where} has a header that is not JSON: {error}.") from None
    if not isinstance(header, dict):
        raise CorruptBlobError(f"{where} has a header that is not an object.")
    header.pop("__metadata__", None)
    base, position = 8 + length, 0
    tensors: dict[str, Tensor] = {}
    try:
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            tensor, position = _tensor(data, entry, base, position)
            tensors[name] = tensor
    except (TypeError, KeyError, ValueError, IndexError, OverflowError, RuntimeError) as error:
        raise CorruptBlobError(f"{where} describes a tensor that it does not hold: {error!r}.") from None
    if base + position != len(data):
        raise CorruptBlobError(f"{where} holds {len(data):,} bytes; its tensors account for {base + position:,}.")
    return tensors


def _tensor(data: mmap.mmap | bytearray, entry: dict[str, Any], base: int, position: int) -> tuple[Tensor, int]:
    """Return one tensor and where the next must begin: tensors lie one after the other, without gaps."""
    dtype, shape, (start, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    if not all(type(number) is int and number > 0 for number in shape) or len(shape) > MAX_AXES or start != position:
        raise ValueError(entry)
    count = math.prod(shape)
    if type(end) is not int or end - start != count * dtype.itemsize or base + end > len(data):
        raise ValueError(entry)
    if (base + start) % dtype.itemsize:
        raise ValueError(f"unaligned: {entry}")
    return torch.frombuffer(data, dtype=dtype, count=count, offset=base + start).view(shape), end
