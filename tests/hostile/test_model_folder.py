"""A model from a stranger: refused with an error of ours, nothing run, nothing outside read or changed."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rcc_integrations import RCCModel
from rcc_integrations.errors import BudgetError, ConfigError, ModelError, ModelNotFoundError, RCCError
from rcc_integrations.model.adapters import Adapter
from rcc_integrations.model.folder import MAX_FILE, check_files
from tests.hostile.conftest import SECRET, Outside, Payload
from tests.model.test_rcc_model import random_adapter
from tests.tiny import TEXT, tiny_model

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model: base, adapters on encoder and decoder, projections."""
    model = tiny_model(projection="low_rank", projection_rank=4)
    parts = model.parts
    parts.encoder_adapter = random_adapter(parts.base.model, ["q_proj", "v_proj"], 1)
    parts.decoder_adapter = random_adapter(parts.base, ["q_proj", "o_proj"], 2)
    folder = tmp_path_factory.mktemp("sound") / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def load(folder: Path) -> RCCModel:
    return RCCModel.from_pretrained(folder, device="cpu", dtype="float32")


def ask(model: RCCModel) -> str:
    return model.answer(TEXT, "Who approves leave?", max_new_tokens=4).text


def refused(folder: Path, kind: type[RCCError] = RCCError, match: str | None = None) -> None:
    with pytest.raises(kind, match=match) as caught:
        ask(load(folder))
    assert SECRET not in str(caught.value) and "7391" not in str(caught.value)


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def change_tensors(path: Path, spoil: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    tensors = load_file(path)
    spoil(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


CONFIGS = ["rcc_config.json", "encoder/adapter_config.json", "base/config.json", "base/tokenizer_config.json",
           "base/tokenizer.json", "base/generation_config.json"]  # fmt: skip
WEIGHTS = ["encoder/adapter_model.safetensors", "projections.safetensors", "base/model.safetensors"]


def test_the_sound_model_answers(folder: Path, outside: Outside) -> None:
    assert isinstance(ask(load(folder)), str)


# Code


def test_pickled_weights_are_not_opened(folder: Path, outside: Outside) -> None:
    payload = pickle.dumps(Payload(outside.canary))
    for name in WEIGHTS:
        path = folder / name
        path.unlink()
        for other in ("pytorch_model.bin", "adapter_model.bin", "model.pt", "projections.bin", "training_args.bin"):
            (path.parent / other).write_bytes(payload)
        refused(folder, ModelError)


def test_pickles_in_the_place_of_weights_are_refused(folder: Path, outside: Outside) -> None:
    for name in WEIGHTS[::-1]:
        (folder / name).write_bytes(pickle.dumps(Payload(outside.canary)))
        refused(folder, ModelError)


@pytest.mark.parametrize("path", ["base/config.json", "base/tokenizer_config.json", "base/generation_config.json"])
@pytest.mark.parametrize("kind", ["llama", "evil"])
def test_code_that_a_config_names_is_not_run(folder: Path, outside: Outside, path: str, kind: str) -> None:
    code = f"import os\nos.mkdir({str(outside.canary)!r})\nclass Evil: pass\n"
    for place in (folder, folder / "base"):
        for name in ("evil.py", "modeling_evil.py", "custom_generate/generate.py"):
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(code)
    classes = ("AutoConfig", "AutoModel", "AutoModelForCausalLM")
    change(
        folder / path,
        auto_map={**{name: "evil.Evil" for name in classes}, "AutoTokenizer": ["evil.Evil", "evil.Evil"]},
        trust_remote_code=True,
        custom_pipelines={"text-generation": {"impl": "evil.Evil", "pt": ["AutoModelForCausalLM"]}},
        custom_generate=str(folder),
        _attn_implementation="evil/kernel",
    )
    if path == "base/config.json":
        change(folder / path, model_type=kind)
    try:
        ask(load(folder))
    except RCCError as error:
        assert SECRET not in str(error)
    else:
        assert kind == "llama" or path != "base/config.json"
    assert not any("evil" in name for name in sys.modules)


def test_an_adapter_names_no_module_to_import(folder: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "evil_core.py").write_text(f"import os\nos.mkdir({str(outside.canary)!r})\n")
    monkeypatch.syspath_prepend(str(folder))
    change(folder / "encoder" / "adapter_config.json", megatron_config={"a": 1}, megatron_core="evil_core")
    refused(folder, ModelError, "megatron")
    assert "evil_core" not in sys.modules


@pytest.mark.parametrize(
    "fields",
    [
        {"r": 10**9}, {"r": -1}, {"r": "4"}, {"rank_pattern": {".*": 10**9}}, {"alpha_pattern": {"(a+)+$": 1}},
        {"target_modules": "(([a-z_.0-9])+)+!"}, {"target_modules": [1]}, {"target_modules": None},
        {"target_modules": ["no_such"]}, {"lora_alpha": 1e300}, {"lora_alpha": None}, {"use_dora": True},
        {"modules_to_save": ["lm_head"]}, {"layer_replication": [[0, 10**6]]}, {"bias": "all"},
        {"trainable_token_indices": [10**9]}, {"loftq_config": {"loftq_bits": 4}}, {"exclude_modules": "(a+)+$"},
        {"layers_pattern": "(a+)+$"}, {"peft_type": "IA3"}, {"peft_type": None}, {"lora_dropout": 7},
        {"target_parameters": ["x"]},
    ],
    ids=str,
)  # fmt: skip
def test_adapters_that_ask_for_more_than_plain_lora_are_refused(folder: Path, fields: dict[str, Any]) -> None:
    change(folder / "encoder" / "adapter_config.json", **fields)
    with pytest.raises(ModelError):
        adapter = Adapter.load(folder / "encoder")
        assert adapter is not None
        adapter.on(tiny_model().encoder, merge=True)


@pytest.mark.parametrize("base", ["/", "../outside", "evil/model", "{outside}"])
def test_the_base_that_an_adapter_names_is_not_looked_for(folder: Path, outside: Outside, base: str) -> None:
    named = base.format(outside=outside.path)
    change(folder / "encoder" / "adapter_config.json", base_model_name_or_path=named, revision="../..")
    assert isinstance(ask(load(folder)), str)


# Files


def test_the_base_that_a_model_names_is_no_way_along_the_tree(
    folder: Path, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "base").rename(folder / "elsewhere")
    monkeypatch.chdir(folder)
    for base in ("../outside", "elsewhere", "./elsewhere", "a/../../outside"):
        change(folder / "rcc_config.json", base=base)
        refused(folder, ModelError, "base=")
    for base in ("evil", "evil/model", "https://evil/model", "\x00", "", "a" * 5000, "{}"):
        change(folder / "rcc_config.json", base=base)
        refused(folder, RCCError)
    change(folder / "rcc_config.json", base="\ud800")
    refused(folder, ConfigError, "base must be text")


@pytest.mark.parametrize("name", [*CONFIGS, *WEIGHTS, "base", "encoder", "base/chat_template.jinja", "notes.txt"])
@pytest.mark.parametrize("what", ["file", "relative", "folder", "device", "pipe"])
def test_links_and_pipes_are_not_opened(folder: Path, outside: Outside, name: str, what: str) -> None:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(
            {
                "file": outside.secret,
                "relative": os.path.relpath(outside.secret, path.parent),
                "folder": outside.path,
                "device": "/dev/zero",
            }[what]
        )
    with pytest.raises(ModelError, match=r"link|not a plain file"):
        load(folder)


def test_a_base_by_itself_is_looked_at_in_the_same_way(folder: Path, outside: Outside) -> None:
    base = folder / "base"
    assert ask(RCCModel.from_base(base, device="cpu", window=64)) is not None
    (base / "chat_template.jinja").symlink_to(outside.secret)
    with pytest.raises(ModelError, match="leads out"):
        RCCModel.from_base(base, device="cpu", window=64)


def test_links_within_the_folder_and_the_hubs_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--a--b"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "1234"
    shutil.copytree(folder, snapshot)
    (snapshot / "projections.safetensors").rename(cache / "blobs" / "abcd")
    (snapshot / "projections.safetensors").symlink_to("../../blobs/abcd")
    (folder / "again.json").symlink_to("rcc_config.json")
    assert load(snapshot).fingerprint() == load(folder).fingerprint()
    (snapshot / "more.json").symlink_to(tmp_path / "model" / "rcc_config.json")
    with pytest.raises(ModelError, match="leads out"):
        check_files(snapshot)


def test_files_that_claim_to_be_endless_are_not_read(folder: Path) -> None:
    for name in CONFIGS:
        path = folder / name
        data = path.read_bytes()
        os.truncate(path, 2**40)
        refused(folder, ModelError, f"more than {MAX_FILE:,}")
        path.write_bytes(data)
    os.truncate(folder / "base" / "model.safetensors", 2**42)
    refused(folder, ModelError)


def test_endless_folders_are_not_walked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rcc_integrations.model.folder.MAX_ENTRIES", 20)
    for number in range(20):
        (folder / f"{number}").mkdir()
    refused(folder, ModelError, "more than 20 files")


@pytest.mark.parametrize("key", ["tokenizer_file", "vocab_file", "merges_file"])
def test_a_tokenizer_reads_no_other_files(folder: Path, outside: Outside, key: str) -> None:
    change(folder / "base" / "tokenizer_config.json", **{key: str(outside.secret)})
    refused(folder, ModelError, key)


def test_a_tokenizer_takes_no_arguments_of_its_own(folder: Path, outside: Outside) -> None:
    change(folder / "base" / "tokenizer_config.json", init_inputs=[str(outside.secret)])
    refused(folder, ModelError, "init_inputs")


# Settings

BOMBS = {
    "empty": b"",
    "deep": b"[" * 200_000,
    "deep object": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "digits": b'{"format": ' + b"1" * 100_000 + b"}",
    "list": b"[1]",
    "not utf-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("name", CONFIGS)
def test_files_that_are_no_settings_are_refused(folder: Path, name: str, bomb: str) -> None:
    (folder / name).write_bytes(BOMBS[bomb])
    if name == "base/generation_config.json":
        # What it says is not used.
        try:
            ask(load(folder))
        except RCCError:
            return
    else:
        refused(folder, RCCError)


@pytest.mark.parametrize(
    "fields",
    [
        {"layers": list(range(10**5)), "placement": "focused"}, {"layers": 10**9}, {"projection_rank": 10**9},
        {"projection_rank": 33}, {"window": 10**9}, {"window": 10**18, "ratio": 10**18}, {"ratio": 10**9},
        {"ratio": True}, {"ratios": [0]}, {"ratios": 7}, {"window": float("nan")}, {"window": 64.0},
        {"max_windows": -1}, {"injection": "pickle"}, {"injection": []}, {"placement": {}}, {"projection": "linear"},
        {"prefix_text": "ferry " * 20_000}, {"prefix_text": 7}, {"prefix_text": "\ud800"}, {"stop": [""]},
        {"question_template": "{question}{question}"}, {"question_template": "{question.__class__}"},
        {"question_template": "{question}" + " ferry" * 20_000}, {"answer_marker": 7}, {"format": 10**30},
        {"format": None}, {"auto_map": {"AutoModel": "evil.Evil"}}, {"base": None}, {"filling": "evil"},
    ],
    ids=lambda fields: str(fields)[:60],
)  # fmt: skip
def test_settings_beyond_all_bounds_are_refused(folder: Path, fields: dict[str, Any]) -> None:
    change(folder / "rcc_config.json", **fields)
    refused(folder, (ConfigError, BudgetError, ModelError))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"num_hidden_layers": 10**9}, {"num_hidden_layers": 4}, {"num_hidden_layers": 0}, {"num_hidden_layers": -1},
        {"hidden_size": 10**9}, {"hidden_size": 36}, {"vocab_size": 10**12}, {"vocab_size": 10**6},
        {"vocab_size": "600"}, {"intermediate_size": 10**12}, {"num_attention_heads": 10**9},
        {"num_attention_heads": 0}, {"num_attention_heads": 3}, {"num_key_value_heads": 0}, {"head_dim": 10**9},
        {"max_position_embeddings": "1024"}, {"max_position_embeddings": -5}, {"max_position_embeddings": 16},
        {"max_position_embeddings": 2**60}, {"model_type": "no-such"}, {"model_type": None},
        {"rms_norm_eps": "x"}, {"hidden_act": "os.system"}, {"rope_parameters": {"rope_type": "evil"}},
        {"quantization_config": {"quant_method": "gptq"}},
        {"sliding_window": "abc"}, {"layer_types": ["evil"] * 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_base_that_tells_other_sizes_than_it_has_is_refused(folder: Path, fields: dict[str, Any]) -> None:
    change(folder / "base" / "config.json", **fields)
    refused(folder, RCCError)


@pytest.mark.parametrize("share", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_any_setting_of_a_base_is_used_or_refused(folder: Path, share: int) -> None:
    """Values of other kinds in the place of every setting, or of one in so many: never an error of another kind."""
    rng = random.Random(6)
    values: list[Any] = [None, -1, 0, 1, 2**40, 10**30, 1.5, "x", "", [], {}, [None], {"a": []}, True, 1e308]
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        path = folder / "base" / name
        before = json.loads(path.read_text())
        for key in list(before)[::share]:
            path.write_text(json.dumps({**before, key: rng.choice(values)}))
            with contextlib.suppress(RCCError):
                ask(load(folder))
        path.write_text(json.dumps(before))


# Weights


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize(
    "header",
    [
        b'{"a": {"dtype": "F32", "shape": [4611686018427387904], "data_offsets": [0, 16]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},'
        b' "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}',
        b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 99999999999]}}',
        b"[" * 50_000,
        b"{}",
    ],
)
def test_safetensors_with_a_header_that_lies_are_refused(folder: Path, name: str, header: bytes) -> None:
    (folder / name).write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    refused(folder, ModelError)
    (folder / name).write_bytes((2**63).to_bytes(8, "little") + header + bytes(16))
    refused(folder, ModelError)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_not_finite_are_refused(folder: Path, name: str, value: float) -> None:
    change_tensors(folder / name, lambda tensors: tensors[max(tensors)].view(-1)[3:4].fill_(value))
    refused(folder, ModelError, "NaN or infinity")


def test_missing_misshapen_and_foreign_tensors_are_refused(folder: Path) -> None:
    for name in WEIGHTS:
        data = (folder / name).read_bytes()
        for spoil in (
            lambda tensors: tensors.pop(min(tensors)),
            lambda tensors: tensors.update({min(tensors): torch.zeros(3, 5)}),
        ):
            change_tensors(folder / name, spoil)
            refused(folder, ModelError)
            (folder / name).write_bytes(data)


# The tokenizer


def test_a_tokenizer_of_another_model_is_refused_when_it_names_a_token_beyond_the_vocabulary(folder: Path) -> None:
    path = folder / "base" / "tokenizer.json"
    settings = json.loads(path.read_text())
    vocabulary = settings["model"]["vocab"]
    settings["model"]["vocab"] = {token: number + 10_000 * (number > 2) for token, number in vocabulary.items()}
    path.write_text(json.dumps(settings))
    refused(folder, ModelError, "tokenizer gives token")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda settings: settings["model"].update(vocab={"a": -1}),
        lambda settings: settings["model"].update(vocab={"a": 2**40}),
        lambda settings: settings["model"].update(type="Evil"),
        lambda settings: settings["model"].update(merges=[["a"]] * 10),
        lambda settings: settings.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(("}}),
        lambda settings: settings.update(added_tokens=[{"id": 10**12, "content": "x"}]),
        lambda settings: settings.clear(),
    ],
)
def test_a_tokenizer_that_is_none_is_refused(folder: Path, spoil: Callable[[Any], Any]) -> None:
    path = folder / "base" / "tokenizer.json"
    settings = json.loads(path.read_text())
    spoil(settings)
    path.write_text(json.dumps(settings))
    refused(folder, RCCError)


@pytest.mark.parametrize("end", [10**9, -1, "x", [600, 10**12], [[1]], None])
def test_end_tokens_that_no_model_can_write_end_nothing(folder: Path, end: Any) -> None:
    change(folder / "base" / "generation_config.json", eos_token_id=end)
    try:
        assert all(0 <= token < 600 for token in load(folder).parts.end_ids)
    except RCCError as error:
        assert "cannot be used" in str(error)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{% include '/etc/hostname' %}",
        "{{ cycler.__init__.__globals__.os.mkdir('CANARY') }}",
        "{{ namespace.__init__.__globals__ }}",
        "{% for i in range(10 ** 9) %}x{% endfor %}",
        "{{ raise_exception('no') }}",
        "{% if %}",
        "{{ 1 / 0 }}",
    ],
)
def test_chat_templates_stay_in_their_sandbox(folder: Path, outside: Outside, template: str) -> None:
    (folder / "base" / "chat_template.jinja").write_text(template.replace("CANARY", str(outside.canary)))
    with pytest.raises(ModelError, match="chat template"):
        RCCModel.from_base(folder / "base", device="cpu", window=64)


def test_released_layouts_are_looked_at_in_the_same_way(folder: Path, outside: Outside) -> None:
    for weights in (folder / "base", folder / "base" / "model.safetensors"):
        with pytest.raises(ModelError, match="layout"):
            RCCModel.from_published(weights, folder / "base", device="cpu")
    change(folder / "base" / "config.json", num_hidden_layers=10**9)
    with pytest.raises(ModelError, match="layers"):
        RCCModel.from_published(folder / "base", folder / "base", device="cpu")
    (folder / "base" / "more.safetensors").symlink_to(outside.secret)
    with pytest.raises(ModelError, match="leads out"):
        RCCModel.from_published(folder / "base", folder / "base", device="cpu")
    with pytest.raises(ModelNotFoundError):
        RCCModel.from_published(folder / "encoder" / "adapter_config.json" / "x", folder / "base")
