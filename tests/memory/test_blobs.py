from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory.blobs import BlobFolder, checksum_of, to_bytes
from rcc_integrations.memory.quantization import encode
from rcc_integrations.memory.tensor_file import parse
from tests.memory.conftest import key_for, memory

KEY = key_for("a")
STORED = {storage: encode(memory(slots=5), storage) for storage in ("int8", "bfloat16", "float32")}


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    return BlobFolder(tmp_path / "blobs")


def put(blobs: BlobFolder, data: bytes) -> None:
    blobs.place(blobs.write_temp(KEY, data), KEY)


@pytest.mark.parametrize("storage", STORED)
def test_a_blob_is_read_as_it_was_and_as_safetensors_reads_it(blobs: BlobFolder, storage: str) -> None:
    data = to_bytes(STORED[storage])
    put(blobs, data)
    read = blobs.load(KEY, size=len(data), checksum=checksum_of(data))
    other = load_file(blobs.path(KEY))
    assert read.keys() == STORED[storage].keys() == other.keys()
    for name, tensor in STORED[storage].items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor) and torch.equal(read[name], other[name])


def test_writing_into_a_tensor_leaves_the_file_alone_and_removal_leaves_the_tensor(blobs: BlobFolder) -> None:
    data = to_bytes(STORED["float32"])
    put(blobs, data)
    read = blobs.load(KEY, size=len(data), checksum=checksum_of(data))
    read["key"].zero_()
    assert blobs.read(KEY) == data
    blobs.remove(KEY)
    assert torch.equal(read["value"], STORED["float32"]["value"])


@pytest.mark.parametrize("place", [0, 8, 30, -1, -400])
def test_a_flipped_bit_is_refused(blobs: BlobFolder, place: int) -> None:
    data = bytearray(to_bytes(STORED["int8"]))
    size, checksum = len(data), checksum_of(bytes(data))
    data[place] ^= 1
    put(blobs, bytes(data))
    with pytest.raises(CorruptBlobError, match=r"checksum.*verify --repair"):
        blobs.load(KEY, size=size, checksum=checksum)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 100, -1])
def test_a_truncated_blob_is_refused(blobs: BlobFolder, keep: int) -> None:
    data = to_bytes(STORED["int8"])
    put(blobs, data[:keep])
    with pytest.raises(CorruptBlobError, match="bytes instead of"):
        blobs.load(KEY, size=len(data), checksum=checksum_of(data))


def test_a_missing_blob_is_missing(blobs: BlobFolder) -> None:
    with pytest.raises(FileNotFoundError):
        blobs.load(KEY, size=1, checksum="")


def built(header: object, body: bytes = bytes(16), length: int | None = None) -> bytearray:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return bytearray((len(text) if length is None else length).to_bytes(8, "little") + text + body)


def entry(dtype: str = "F32", shape: object = (2, 2), offsets: object = (0, 16)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_a_well_formed_file_is_read() -> None:
    tensors = parse(built({"a": entry(offsets=[0, 16]), "__metadata__": {"format": "x"}}), "file")
    assert torch.equal(tensors["a"], torch.zeros(2, 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: bytearray(b""),
        lambda: bytearray(b"1234567"),
        lambda: built({}, length=2**63),
        lambda: built({}, length=1000),
        lambda: built(b"\xff\xfe"),
        lambda: built(b"[" * 100_000),
        lambda: built([]),
        lambda: built({}),
        lambda: built({"a": 1}),
        lambda: built({"a": {}}),
        lambda: built({"a": entry("I64", (2,))}),
        lambda: built({"a": entry("OBJECT")}),
        lambda: built({"a": entry(shape=(2, 3))}),
        lambda: built({"a": entry(shape=(-2, -2))}),
        lambda: built({"a": entry(shape=(2**62, 2**62))}),
        lambda: built({"a": entry(shape=(0,), offsets=(0, 0))}),
        lambda: built({"a": entry(shape=(True, 4))}),
        lambda: built({"a": entry(shape="22")}),
        lambda: built({"a": entry(offsets=(0, 32), shape=(8,))}),
        lambda: built({"a": entry(offsets=(-16, 0))}),
        lambda: built({"a": entry(offsets=(4, 20))}, bytes(20)),
        lambda: built({"a": entry(offsets=(0,))}),
        lambda: built({"a": entry(), "b": entry()}),
        lambda: built({"a": entry()}, bytes(24)),
        lambda: built({"a": entry("I8", (1,), (0, 1)), "b": entry("F32", (1,), (1, 5))}, bytes(5)),
        lambda: built({"a": entry(), "b": {**entry(), "data_offsets": ["0", 16]}}),
    ],
)
def test_a_malformed_file_is_refused(make: Callable[[], bytearray]) -> None:
    with pytest.raises(CorruptBlobError):
        parse(make(), "file")


@given(st.binary(max_size=300), st.integers(0, 200))
@settings(deadline=None)
def test_no_bytes_do_harm(noise: bytes, place: int) -> None:
    data = bytearray(to_bytes(STORED["int8"]))
    data[place : place + len(noise)] = noise
    try:
        tensors = parse(data, "file")
    except CorruptBlobError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) < len(data)
