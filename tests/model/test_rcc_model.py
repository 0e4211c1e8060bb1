from __future__ import annotations

import json
import shutil
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from rcc_integrations.config import RCCConfig
from rcc_integrations.errors import ConfigError, EmptyDocumentError, ModelError, ModelNotFoundError
from rcc_integrations.model.adapters import Adapter
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.model.runtime import Runtime
from tests.tiny import FAMILIES, TEXT, tiny_base, tiny_model, tiny_tokenizer


def random_adapter(model: nn.Module, targets: list[str], seed: int) -> Adapter:
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
        wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets))
    for name, weight in wrapped.named_parameters():
        if "lora_" in name:
            nn.init.normal_(weight, std=0.2)
    adapter = Adapter.of(wrapped)
    wrapped.unload()
    return adapter


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """A saved model with adapters on encoder and decoder and low-rank projections, all random."""
    folder = tmp_path_factory.mktemp("adapted") / "model"
    model = tiny_model(projection="low_rank", projection_rank=4)
    for parameter in model.projections.parameters():
        nn.init.normal_(parameter, mean=0.5, std=0.2)
    parts = model.parts
    parts.encoder_adapter = random_adapter(parts.base.model, ["q_proj", "v_proj", "up_proj"], 1)
    parts.decoder_adapter = random_adapter(parts.base, ["q_proj", "o_proj"], 2)
    model.save_pretrained(folder)
    return folder


def test_merged_and_unmerged_adapters_are_one_model(adapted):
    apart = RCCModel.from_pretrained(adapted, device="cpu", merge=False)
    merged = RCCModel.from_pretrained(adapted, device="cpu", merge=True)
    bare = tiny_model()
    ids = tiny_tokenizer()(TEXT)["input_ids"][:60]
    one, two, plain = (model.compress([ids], 4)[0] for model in (apart, merged, bare))
    torch.testing.assert_close(one["key"], two["key"], atol=1e-4, rtol=1e-3)
    assert not torch.allclose(one["key"], plain["key"], atol=1e-2)
    assert apart.fingerprint() == merged.fingerprint() != bare.fingerprint()
    question = merged.question_ids("Who?")
    assert (
        apart.generate([apart.prefix([one])], [question])[0].ids
        == merged.generate([merged.prefix([two])], [question])[0].ids
    )


def test_encoder_and_decoder_share_the_base_in_memory(adapted):
    for merge in (False, True):
        model = RCCModel.from_pretrained(adapted, device="cpu", merge=merge)
        tensors = [*model.encoder.parameters(), *model.decoder.parameters(), *model.parts.base.parameters()]
        distinct = sum(size for _, size in {(tensor.data_ptr(), tensor.nbytes) for tensor in tensors})
        base = sum(tensor.nbytes for tensor in model.parts.base.parameters())
        assert distinct < (1.3 if not merge else 1.5) * base
    # The base itself is as it was: merging must not have written to it.
    for name, weight in tiny_base("llama").named_parameters():
        assert torch.equal(weight, dict(model.parts.base.named_parameters())[name])


def test_save_and_load_keep_everything(adapted, tmp_path):
    first = RCCModel.from_pretrained(adapted, device="cpu")
    first.save_pretrained(tmp_path / "again")
    second = RCCModel.from_pretrained(tmp_path / "again", device="cpu")
    assert second.config == first.config
    assert second.fingerprint(8) == first.fingerprint(8)
    assert sorted(path.suffix for path in (tmp_path / "again").rglob("*") if path.is_file()).count(".bin") == 0
    ids = tiny_tokenizer()(TEXT)["input_ids"][:60]
    assert torch.equal(first.compress([ids])[0]["key"], second.compress([ids])[0]["key"])


def test_saving_over_something_else_is_refused(model, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ModelError, match="left alone"):
        model.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("family", FAMILIES)
def test_fingerprints_do_not_depend_on_the_number_format(family):
    model = tiny_model(family)
    again = tiny_model(family)
    again.decoder.to(torch.bfloat16)
    assert again.fingerprint() == model.fingerprint()
    assert tiny_model(family, seed=1).fingerprint() != model.fingerprint()


def test_fingerprints_tell_what_shapes_a_memory(model):
    others = [
        model.fingerprint(8),
        tiny_model(window=32).fingerprint(),
        tiny_model(placement="last").fingerprint(),
        tiny_model(injection="residual").fingerprint(),
    ]
    assert len({model.fingerprint(), *others}) == 5
    assert tiny_model(question_template="{question}").fingerprint() == model.fingerprint()


@pytest.mark.parametrize("injection", ["kv", "residual"])
@pytest.mark.parametrize("family", FAMILIES)
def test_memories_have_the_shape_they_promise(family, injection):
    model = tiny_model(family, injection=injection)
    (memory,) = model.compress([tiny_tokenizer()(TEXT)["input_ids"][:30]], 4)
    spec = model.memory_spec(4)
    assert set(memory) == set(spec)
    for name, tensor in memory.items():
        *outer, width = spec[name]
        assert tensor.shape == (*outer, 8, width)


@pytest.mark.parametrize("family", FAMILIES)
def test_residual_injection_adds_after_every_layer(family):
    """The prefix equals a decoder run by hand in which the states are added between layers."""
    model = tiny_model(family, injection="residual", placement="last", prefix_text="")
    ids = tiny_tokenizer()(TEXT)["input_ids"][:32]
    with torch.no_grad():
        states = model.parts.base(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        slots = list(range(3, 32, 4))
        prefix = model.prefix(model.compress([ids], 4))
        hidden = states[0][:, slots]
        body = model._builder._family.body
        cos_sin = body.rotary_emb(hidden, position_ids=torch.arange(8)[None])
        mask = torch.full((8, 8), float("-inf")).triu(1)[None, None]
        from transformers import DynamicCache

        cache = DynamicCache()
        for number, layer in enumerate(model._builder._family.layers):
            argument = {model._builder._family.cache_argument: cache}
            hidden = layer(hidden, attention_mask=mask, position_embeddings=cos_sin, use_cache=True, **argument)
            if number + 1 < len(states) - 1:
                hidden = hidden + states[number + 1][:, slots]
    for number, cached in enumerate(cache.layers):
        torch.testing.assert_close(prefix.keys[number], cached.keys[0], atol=1e-4, rtol=1e-3)


def test_untrained_ratios_are_refused_unless_asked_for_by_name():
    model = tiny_model(ratios=(), ratio=1)
    assert model.check_ratio() == 1
    with pytest.raises(ConfigError, match=r"Ratio 4 .*trained ratios: none.*untrained=True"):
        model.compress([[5, 6, 7]], 4)
    assert model.compress([[5, 6, 7]], 4, untrained=True)[0]["key"].shape[-2] == 1
    with pytest.raises(ConfigError, match="from 1 to the window of 64"):
        model.check_ratio(65, untrained=True)
    with pytest.raises(ConfigError, match="ratio must be a whole number"):
        model.check_ratio(2.5)  # type: ignore[arg-type]


def test_windows_of_a_wrong_length_are_refused(model):
    for window in ([], [5] * 65):
        with pytest.raises(ConfigError, match="1 to 64 are possible"):
            model.compress([window])


def test_from_base_takes_the_chat_template_and_a_long_window():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    try:
        model = RCCModel.from_base(tiny_base("llama"), tokenizer=tokenizer)
    finally:
        tokenizer.chat_template = None
    assert model.config.prefix_text == "<|im_start|>user\n"
    assert model.config.question_template == "\n{question}<|im_end|>\n<|im_start|>assistant\n"
    assert model.config.window == 512
    assert model.config.ratio == 1
    assert model.answer(TEXT, "Who approves leave?", max_new_tokens=4).ids


def test_a_question_cannot_smuggle_in_special_tokens(model):
    inside = model.question_ids("<|im_end|> now")
    assert inside.count(tiny_tokenizer().convert_tokens_to_ids("<|im_end|>")) == 1  # the template's own


def test_families_that_do_not_fit_are_refused():
    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=600))
    with pytest.raises(ModelError, match=r"GPT2LMHeadModel has no .* Tested families"):
        RCCModel.from_base(other, tokenizer=tiny_tokenizer(), window=64)


def test_a_sliding_window_bounds_what_can_be_reached():
    model = tiny_model("mistral", base={"sliding_window": 128})
    assert model.reach == 128
    with pytest.raises(ConfigError, match="longer than the 32 positions"):
        tiny_model("mistral", base={"sliding_window": 32})


def test_a_text_without_tokens(model):
    with pytest.raises(EmptyDocumentError):
        model.answer("", "Who?")


def test_instruction_reconstruction_is_for_residual_models(model):
    with pytest.raises(ConfigError, match="residual"):
        model.answer(TEXT, "Who?", instruction="reconstruct")
    with pytest.raises(ConfigError, match="'clear' or 'reconstruct'"):
        model.answer(TEXT, "Who?", instruction="guess")  # type: ignore[arg-type]


def test_missing_models_are_named(tmp_path):
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        RCCModel.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="not a saved RCC model"):
        RCCModel.from_pretrained(tmp_path)
    with pytest.raises(ModelNotFoundError, match="no-such-base"):
        RCCModel.from_base(str(tmp_path / "no-such-base"))


def test_adapters_that_do_not_fit_are_refused(adapted, tmp_path):
    for name, spoil in {
        "missing": lambda tensors: tensors.pop(next(iter(tensors))),
        "extra": lambda tensors: tensors.update({"base_model.model.odd.lora_A.weight": torch.zeros(4, 4)}),
    }.items():
        folder = tmp_path / name
        shutil.copytree(adapted, folder)
        file = folder / "encoder" / "adapter_model.safetensors"
        tensors = load_file(file)
        spoil(tensors)
        save_file(tensors, file)
        with pytest.raises(ModelError, match="does not fit"):
            RCCModel.from_pretrained(folder, device="cpu")
    folder = tmp_path / "other"
    shutil.copytree(adapted, folder)
    (folder / "encoder" / "adapter_model.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="not an adapter that can be read"):
        RCCModel.from_pretrained(folder, device="cpu")
    config = folder / "encoder" / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "IA3"}))
    shutil.copy(adapted / "encoder" / "adapter_model.safetensors", folder / "encoder")
    with pytest.raises(ModelError, match="IA3"):
        RCCModel.from_pretrained(folder, device="cpu")


def test_runtime_choices():
    assert Runtime.choose("cpu") == Runtime(torch.device("cpu"), torch.float32, "sdpa")
    assert Runtime.choose("cpu", "bfloat16", "eager").dtype is torch.bfloat16
    for wrong in ({"device": "toaster"}, {"dtype": "int3"}, {"attn": "magic"}, {"attn": "flash_attention_2"}):
        with pytest.raises(ConfigError, match=next(iter(wrong.values()))):
            Runtime.choose(**{"device": "cpu", **wrong})
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA"):
            Runtime.choose("cuda")


def test_config_round_trip_and_errors():
    config = RCCConfig(base="x", ratios=(1, 4), stop=("END",))
    assert RCCConfig.from_json(config.to_json()) == config
    for wrong, message in [
        ({"injection": "magic"}, "kv, residual"),
        ({"ratio": 0}, "ratio"),
        ({"ratio": 256}, "larger than the window"),
        ({"window": True}, "window"),
        ({"question_template": "no place"}, "question"),
        ({"projection": "low_rank"}, "projection_rank"),
        ({"stop": ("",)}, "stop"),
    ]:
        with pytest.raises(ConfigError, match=message):
            RCCConfig(base="x", **wrong)
    for text, message in [
        ("{", "not JSON"),
        ("[]", "object"),
        ('{"format": 2, "base": "x"}', "format 2"),
        ('{"format": 1, "base": "x", "colour": 1}', "colour"),
        ('{"format": 1}', "not complete"),
    ]:
        with pytest.raises(ConfigError, match=message):
            RCCConfig.from_json(text)
