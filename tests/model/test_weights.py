"""Damaged weights of the default model's base are found before anything is stored under the sound model's name."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from rcc_integrations import RCCReader
from rcc_integrations.errors import ModelError
from rcc_integrations.model import packaged
from rcc_integrations.model.fingerprint import weights_digest
from tests.tiny import tiny_model


@pytest.fixture
def converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the conversion leaves it, of a tiny model."""
    monkeypatch.setenv("RCC_CACHE", str(tmp_path / "cache"))
    folder = packaged.converted_folder()
    folder.mkdir(parents=True)
    base = tiny_model().parts.base
    save_file({name: tensor.detach().clone() for name, tensor in base.named_parameters()}, folder / "model.safetensors")
    digest = weights_digest(base.named_parameters())
    (folder / "base.json").write_text(json.dumps({"source": "", "digest": digest}))
    return folder


def zero(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4000] = bytes(4000)
    path.write_bytes(data)


def test_sound_weights_pass_and_weights_that_are_not_there_are_no_damage(converted: Path) -> None:
    assert packaged.check_converted()
    (converted / "base.json").unlink()
    assert not packaged.check_converted()


@pytest.mark.parametrize("how", ["zeros", "cut", "gone"])
def test_damaged_weights_are_found_and_pull_converts_them_anew(
    converted: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = converted / "model.safetensors"
    if how == "zeros":
        zero(weights)
    elif how == "cut":
        os.truncate(weights, weights.stat().st_size - 100)
    else:
        weights.unlink()
    with pytest.raises(ModelError, match="rcc pull"):
        packaged.check_converted()
    anew: list[Any] = []

    def convert(gguf: Path, folder: Path) -> packaged.Base:
        # Whoever converts looks first whether another process has done so.
        assert packaged._converted(folder) is None
        anew.append(folder)
        return packaged.Base(folder, "digest")

    monkeypatch.setattr(packaged, "_convert", convert)
    monkeypatch.setattr(packaged, "_installed", lambda: [converted])
    (converted / packaged._GGUF).touch()
    assert packaged.pull().digest == "digest" and anew == [converted]


def test_nothing_is_compressed_with_damaged_weights(tmp_path: Path) -> None:
    model = tiny_model()
    model.parts.base_digest = weights_digest(model.parts.base.named_parameters())
    with RCCReader.open(tmp_path / "store", model=model) as reader:
        reader.add("notes", {"a": "The ferry leaves at 7:45."})
    damaged = tiny_model()
    damaged.parts.base_digest = model.parts.base_digest
    with torch.no_grad():
        next(damaged.parts.base.parameters()).zero_()
    # What is trusted without being read is the same.
    assert damaged.fingerprint(4) == model.fingerprint(4)
    with RCCReader.open(tmp_path / "store", model=damaged) as reader:
        with pytest.raises(ModelError, match="damaged"):
            reader.add("notes", {"b": "The library opens at nine."})
        assert [record.id for record in reader.documents("notes")] == ["a"] and reader.store.stats().blobs == 1


def test_a_cache_that_cannot_be_written_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCC_CACHE", str(tmp_path / "file" / "cache"))
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="RCC_CACHE"):
        packaged._convert(tmp_path / "gguf", packaged.converted_folder())
    monkeypatch.setenv("RCC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "gguf").write_bytes(b"x")

    def full(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(packaged, "_write", full)
    monkeypatch.setattr(packaged, "_GGUF_SHA256", "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
    with pytest.raises(ModelError, match="No space left"):
        packaged._convert(tmp_path / "gguf", packaged.converted_folder())
    assert not list((tmp_path / "cache").glob("convert-*"))
