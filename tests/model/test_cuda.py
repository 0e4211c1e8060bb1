"""The same on a GPU; run with --gpu on a machine that has one."""

from __future__ import annotations

import pytest
import torch

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.model.runtime import Runtime
from tests.tiny import TEXT

pytestmark = pytest.mark.gpu


def test_what_is_chosen():
    runtime = Runtime.choose()
    assert runtime.device.type == "cuda"
    assert runtime.dtype is torch.bfloat16
    assert runtime.attention in ("flash_attention_2", "sdpa")


def test_a_store_written_on_the_cpu_is_read_on_the_gpu(saved_model, tmp_path):
    cpu = RCCModel.from_pretrained(saved_model, device="cpu")
    gpu = RCCModel.from_pretrained(saved_model, device="cuda", dtype="float32")
    assert gpu.fingerprint() == cpu.fingerprint() == RCCModel.from_pretrained(saved_model, device="cuda").fingerprint()
    with RCCReader.open(tmp_path / "memory", model=cpu) as reader:
        reader.add("x", {"a": TEXT}, storage="float32")
        expected = reader.ask("x", "Who approves leave?", max_new_tokens=8).text
    with RCCReader.open(tmp_path / "memory", model=gpu) as reader:
        assert reader.ask("x", "Who approves leave?", max_new_tokens=8).text == expected
        assert reader.add("y", {"a": TEXT + " More."}, storage="float32").windows_compressed >= 1
