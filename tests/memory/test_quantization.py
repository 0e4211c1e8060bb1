from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rcc_integrations.errors import ConfigError, CorruptBlobError, ModelError
from rcc_integrations.memory.expected import check_blob
from rcc_integrations.memory.quantization import decode, decode_into, encode
from tests.memory.conftest import memory


@given(
    st.lists(
        st.lists(st.floats(-8e6, 8e6, width=32), min_size=4, max_size=4),
        min_size=1,
        max_size=6,
    )
)
@settings(deadline=None)
def test_int8_is_within_half_a_scale(rows: list[list[float]]) -> None:
    value = torch.tensor(rows, dtype=torch.float32)[None]
    stored = encode({"key": value})
    scale = stored["key.scale"].float()
    largest = value.abs().amax(-1, keepdim=True)
    assert stored["key.q"].dtype == torch.int8 and stored["key.q"].abs().max() <= 127
    # A scale is the least float16 that is enough, so the bound on it is tight on both sides.
    assert (scale * 127 >= largest * (1 - 1e-6)).all()
    assert (scale <= (largest / 127) * (1 + 2**-10) + 2**-24).all()
    error = (decode(stored)["key"] - value).abs()
    assert (error <= scale / 2 * (1 + 1e-4)).all()


@pytest.mark.parametrize("magnitude", [1e-42, 1e-9, 7e-8, 3e-6, 7.6e-6, 6e-5, 1e-3, 1.0, 8.3e6])
def test_int8_clips_nothing_at_any_magnitude(magnitude: float) -> None:
    value = torch.linspace(-magnitude, magnitude, 33)[None]
    back = decode(encode({"key": value}))["key"]
    assert (back - value).abs().max() <= max(magnitude / 254 * 1.002, 2**-25) + 2**-25


def test_zero_vectors_stay_zero_beside_others() -> None:
    value = torch.zeros(2, 3, 4)
    value[1, 2] = 5.0
    back = decode(encode({"key": value}))["key"]
    assert torch.equal(back != 0, value != 0) and torch.isfinite(back).all()


@pytest.mark.parametrize("storage", ["bfloat16", "float32"])
@pytest.mark.parametrize("source", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_plain_storage_rounds_once(storage: str, source: torch.dtype) -> None:
    value = memory()["key"].to(source).transpose(0, 1)
    stored = encode({"key": value}, storage)
    assert list(stored) == ["key"] and stored["key"].is_contiguous()
    assert torch.equal(stored["key"], value.to(getattr(torch, storage)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_decode_gives_the_type_asked_for(dtype: torch.dtype) -> None:
    value = memory()
    for storage in ("int8", "bfloat16", "float32"):
        back = decode(encode(value, storage), dtype)
        assert {tensor.dtype for tensor in back.values()} == {dtype} and list(back) == ["key", "value"]
        assert torch.allclose(back["key"].float(), value["key"], atol=0.03)


@pytest.mark.parametrize("storage", ["int8", "bfloat16", "float32"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_decoding_in_place_gives_the_same_bits(storage: str, dtype: torch.dtype) -> None:
    stored = encode(memory(), storage)
    wanted = decode(stored, dtype)
    rooms = {
        name: torch.full((*tensor.shape[:-2], 20, tensor.shape[-1]), 9.0, dtype=dtype)
        for name, tensor in wanted.items()
    }
    places = {name: room[..., 3 : 3 + wanted[name].shape[-2], :] for name, room in rooms.items()}
    decode_into(stored, places)
    for name, room in rooms.items():
        assert torch.equal(places[name], wanted[name])
        assert (room[..., :3, :] == 9).all()
        assert (room[..., 3 + wanted[name].shape[-2] :, :] == 9).all()


@pytest.mark.parametrize("storage", ["int8", "bfloat16", "float32"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_refused(storage: str, bad: float) -> None:
    value = memory()
    value["value"][1, 1, 3, 2] = bad
    with pytest.raises(ModelError, match="'value' holds NaN"):
        encode(value, storage)


@pytest.mark.parametrize(
    ("tensors", "storage", "message"),
    [
        ({"key": torch.ones(2, 2)}, "int4", "choose one of int8, bfloat16, float32"),
        ({}, "int8", "at least one"),
        ({"key": torch.ones(2, 2, dtype=torch.int64)}, "int8", "int64"),
        ({"key": torch.ones(4)}, "int8", r"\[4\]"),
        ({"key": torch.ones(2, 0, 4)}, "int8", r"\[2, 0, 4\]"),
        ({"key.q": torch.ones(2, 2)}, "int8", "letters"),
        ({"key": torch.full((2, 2), 1e7)}, "int8", "too large for int8"),
        ({"key": torch.full((2, 2), 1e300, dtype=torch.float64)}, "int8", "too large"),
        ({"key": torch.full((2, 2), 3.4e38)}, "bfloat16", "too large for bfloat16"),
        ({"key": [[1.0]]}, "int8", "list"),
    ],
)
def test_what_cannot_be_stored_is_refused(tensors: dict[str, torch.Tensor], storage: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        encode(tensors, storage)


def test_the_source_is_left_alone() -> None:
    value = memory()["key"].requires_grad_()
    before = value.detach().clone()
    stored = encode({"key": value})
    assert torch.equal(value, before) and not stored["key.scale"].requires_grad


@pytest.mark.parametrize(
    "change",
    [
        lambda stored: stored.pop("key.q"),
        lambda stored: stored.pop("key.scale"),
        lambda stored: stored.update({"key": torch.ones(2, 2)}),
        lambda stored: stored.update({"key.scale": stored["key.scale"].float()}),
        lambda stored: stored.update({"key.scale": stored["key.scale"][..., 0]}),
        lambda stored: stored.update({"key.q": stored["key.q"].to(torch.int16)}),
        lambda stored: stored.update({"value": torch.ones(2, 2, dtype=torch.int8)}),
    ],
)
def test_a_torn_pair_is_refused(change: object) -> None:
    stored = encode({"key": torch.ones(2, 3, 4)})
    change(stored)  # type: ignore[operator]
    with pytest.raises(CorruptBlobError):
        decode(stored)


SPEC = {"key": (3, 2, 4), "value": (3, 2, 4)}


@pytest.mark.parametrize("storage", ["int8", "bfloat16", "float32"])
def test_a_fitting_blob_passes(storage: str) -> None:
    stored = encode(memory(slots=5), storage)
    assert check_blob(stored, SPEC) == check_blob(stored, SPEC, entries=5) == check_blob(decode(stored), SPEC) == 5


@pytest.mark.parametrize(
    ("spec", "entries", "message"),
    [
        ({"key": (3, 2, 4)}, None, r"\['key', 'value'\]; the model expects \['key'\]"),
        ({**SPEC, "state": (3, 4)}, None, "expects"),
        ({**SPEC, "value": (3, 2, 5)}, None, r"\[3, 2, 8, 4\]; the model expects \[3, 2, entries, 5\]"),
        ({**SPEC, "value": (2, 4)}, None, r"expects \[2, entries, 4\]"),
        (SPEC, 7, "8 entries; 7"),
    ],
)
def test_a_blob_that_does_not_fit_is_refused(
    spec: dict[str, tuple[int, ...]], entries: int | None, message: str
) -> None:
    with pytest.raises(CorruptBlobError, match=message):
        check_blob(encode(memory()), spec, entries=entries)


def test_tensors_of_different_slots_are_refused() -> None:
    with pytest.raises(CorruptBlobError, match="4 entries; 8 are expected"):
        check_blob(encode({"key": memory()["key"], "value": memory(slots=4)["value"]}), SPEC)
