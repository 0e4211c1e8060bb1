"""The released RCC-Pythia layout, against what the released code computed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rcc_integrations.errors import ModelError, ModelNotFoundError
from rcc_integrations.model.cache import roomy_cache
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.model.windows import fill_published
from tests.tiny import tiny_tokenizer

GOLDEN = Path(__file__).parents[1] / "data" / "rcc_neox_tiny"
CASES = json.loads((GOLDEN / "cases.json").read_text())


@pytest.fixture(scope="module")
def published():
    return RCCModel.from_published(
        GOLDEN / "model.safetensors", GOLDEN, tokenizer=tiny_tokenizer(), device="cpu", dtype="float32"
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden_case(published, case):
    expected = load_file(GOLDEN / "expected.safetensors")
    ids = tuple(case["context_ids"])
    if case["name"] == "n4096":
        ids = ids[-2048:] + ids  # the extra window that the released code puts in front
    windows = fill_published(2048, ids)
    with torch.no_grad():
        states, counts = published._compressor.encode(windows, 32, final_level=True)
    states = states.flatten(1, 2).transpose(0, 1)
    assert sum(counts) == case["slots"]
    torch.testing.assert_close(states[::8], expected[f"{case['name']}.memory_every8th"], atol=1e-4, rtol=0)

    prefix = published.prefix(published.compress(windows))
    assert prefix.slots == case["slots"]
    cache = roomy_cache(list(prefix.keys[:, None]), list(prefix.values[:, None]), 16)
    with torch.no_grad():
        logits = published.decoder(input_ids=torch.tensor([case["prompt_ids"]]), past_key_values=cache).logits[0]
    torch.testing.assert_close(logits, expected[f"{case['name']}.prompt_logits"], atol=1e-4, rtol=0)

    answer = published.generate([prefix], [case["prompt_ids"]], GenerationOptions(max_new_tokens=16))[0]
    assert list(answer.ids) == case["generated_ids"]


def test_all_cases_in_one_batch(published):
    prefixes, prompts = [], []
    for case in CASES[:6]:
        prefixes.append(published.prefix(published.compress(fill_published(2048, tuple(case["context_ids"])))))
        prompts.append(case["prompt_ids"])
    answers = published.generate(prefixes, prompts, GenerationOptions(max_new_tokens=16))
    assert [list(answer.ids) for answer in answers] == [case["generated_ids"] for case in CASES[:6]]


def test_checkpoint_in_many_files(published, tmp_path):
    tensors = load_file(GOLDEN / "model.safetensors")
    names = sorted(tensors)
    for part in range(3):
        save_file({name: tensors[name] for name in names[part::3]}, tmp_path / f"model-{part}.safetensors")
    again = RCCModel.from_published(tmp_path, GOLDEN, tokenizer=tiny_tokenizer(), device="cpu", dtype="float32")
    assert again.weights_id() == published.weights_id()


def test_saved_and_loaded_again(published, tmp_path):
    published.save_pretrained(tmp_path / "saved")
    again = RCCModel.from_pretrained(tmp_path / "saved", device="cpu", dtype="float32")
    assert again.config == published.config
    assert again.fingerprint() == published.fingerprint()
    case = CASES[1]
    windows = fill_published(2048, tuple(case["context_ids"]))
    answer = again.generate(
        [again.prefix(again.compress(windows))], [case["prompt_ids"]], GenerationOptions(max_new_tokens=16)
    )[0]
    assert list(answer.ids) == case["generated_ids"]


@pytest.mark.parametrize(
    ("tokens", "windows", "front"),
    [(5, 1, 3), (100, 1, 48), (1024, 1, 0), (2048, 1, 0), (2049, 2, 2047), (4096, 2, 0), (5000, 3, 1144)],
)
def test_filling(tokens, windows, front):
    ids = tuple(range(tokens))
    filled = fill_published(2048, ids)
    assert [len(window) for window in filled] == [2048] * windows
    flat = [token for window in filled for token in window]
    assert flat[:front] == list(ids[tokens - front :] if front else ())
    assert flat[front : front + tokens] == list(ids)
    assert flat[-tokens:] == list(ids)


@pytest.mark.parametrize(
    ("instruction", "sees_question"), [("clear", True), ("reconstruct", False)], ids=["clear", "reconstruct"]
)
def test_the_seeds_example_runs(published, instruction, sees_question):
    text = "The cat sat on the sofa." + 100 * "The dog sat on the stool."
    answer = published.answer(text, "Where does the cat sit?", instruction=instruction, max_new_tokens=8)
    assert len(answer.ids) == 8
    other = published.answer(text, "Where does the dog sit today?", instruction=instruction, max_new_tokens=8)
    assert (answer.ids != other.ids) or not sees_question


def test_reconstruction_compresses_the_question_with_the_text(published):
    compressed = published.cut("Some text.\n\nWhere is it?")
    by_hand = published.generate(
        [published.prefix(published.compress([window.ids for window in compressed]))],
        [published.question_ids("")],
        GenerationOptions(max_new_tokens=8),
    )[0]
    answer = published.answer("Some text.", "Where is it?", instruction="reconstruct", max_new_tokens=8)
    assert answer.ids == by_hand.ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("gpt_neox.rcc_encoder2gpt_embed.weight"), "rcc_encoder2gpt_embed.weight"),
        (lambda tensors: tensors.pop("gpt_neox.layers.1.attention.dense.bias"), "decoder lacks 1"),
        (lambda tensors: tensors.pop("gpt_neox.rcc_encoder.gpt_neox.embed_in.weight"), "encoder lacks 1"),
        (lambda tensors: tensors.update({"gpt_neox.odd": torch.zeros(2)}), "no place for 1"),
        (
            lambda tensors: tensors.update({"gpt_neox.rcc_encoder2gpt_A_matrix.0.weight": torch.zeros(2, 2)}),
            "projections",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path, change, message):
    tensors = load_file(GOLDEN / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=message):
        RCCModel.from_published(tmp_path, GOLDEN, tokenizer=tiny_tokenizer(), device="cpu")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ModelNotFoundError, match="no safetensors"):
        RCCModel.from_published(tmp_path, GOLDEN, tokenizer=tiny_tokenizer())
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="cannot be read"):
        RCCModel.from_published(tmp_path, GOLDEN, tokenizer=tiny_tokenizer())
    shutil.copy(GOLDEN / "model.safetensors", tmp_path / "model.safetensors")
    shutil.copy(GOLDEN / "model.safetensors", tmp_path / "again.safetensors")
    with pytest.raises(ModelError, match="another file"):
        RCCModel.from_published(tmp_path, GOLDEN, tokenizer=tiny_tokenizer())
