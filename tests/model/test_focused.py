"""Focused placement: a few layers see all tokens, the others none."""

from __future__ import annotations

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rcc_integrations import RCCModel
from rcc_integrations.errors import ConfigError
from rcc_integrations.model.cache import roomy_cache
from rcc_integrations.model.family import rotate
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.model.prefix import stack_prefixes
from rcc_integrations.training.ranking import rank_layers
from tests.tiny import FAMILIES, TEXT, tiny_model, tiny_tokenizer

LAYERS = (2, 1, 3, 0)
IDS = tiny_tokenizer()(TEXT)["input_ids"]
WINDOWS = [IDS[:41], IDS[41:60], IDS[7:8]]
QUESTION = "Who is the harbour pilot?"


def focused(family: str = "llama", **settings) -> RCCModel:
    base = {"num_hidden_layers": 4, **settings.pop("base", {})}
    settings = {"placement": "focused", "layers": LAYERS, "ratios": (1, 2, 4), "ratio": 2, **settings}
    return tiny_model(family, base=base, **settings)


def tokens(model: RCCModel, prefixes, questions=(QUESTION,)) -> list[tuple[int, ...]]:
    asked = [model.question_ids(question) for question in questions]
    return [one.ids for one in model.generate(prefixes, asked, GenerationOptions(max_new_tokens=12))]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ratio", [2, 3, 4])
def test_memory_is_the_exact_cache_of_the_layers_that_read_most(family, ratio):
    model = focused(family, ratios=(2, 3, 4))
    kept = sorted(LAYERS[: 4 // ratio])
    assert model.layout(ratio).levels == tuple(kept)
    for part, exact in zip(model.compress(WINDOWS, ratio), model.compress(WINDOWS, 1), strict=True):
        for name in part:
            torch.testing.assert_close(part[name], exact[name][kept])
            assert list(part[name].shape[:2]) == list(model.memory_spec(ratio)[name][:2])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("ratio", [2, 4])
def test_other_layers_see_no_memory(family, ratio):
    """The plain way: every layer has the whole memory, and a mask hides it from those that should not see it."""
    model = focused(family)
    prefix = model.prefix(model.compress(WINDOWS, ratio), ratio=ratio)
    assert prefix.slots == sum(-(-len(window) // ratio) for window in WINDOWS)
    assert prefix.layer_entries == sum(map(len, WINDOWS))
    found = tokens(model, [prefix])

    text, exact = model.text_prefix(), model.compress(WINDOWS, 1)
    places, at = [], text.length
    for window in WINDOWS:
        places += [at + number // ratio for number in range(len(window))]
        at += -(-len(window) // ratio)
    keys, values = (torch.cat([memory[name] for memory in exact], dim=-2) for name in ("key", "value"))
    cos, sin = model._builder._family.rotation(torch.tensor(places), keys)
    whole = torch.cat([rotate(keys, cos, sin), text.keys], dim=-2), torch.cat([values, text.values], dim=-2)
    hidden = [layer for layer in range(4) if layer not in model.layout(ratio).levels]
    expected = plainly(model, *whole, hidden, len(places), at)
    assert found == [expected]
    # It matters who sees what: with memory in every layer another answer comes out.
    assert plainly(model, *whole, [], len(places), at) != expected


def plainly(model, keys, values, hidden, entries, position) -> tuple[int, ...]:
    def attend(module, query, key, value, mask, **options):
        if module.layer_idx in hidden:
            if mask is None:
                mask = torch.zeros(1, 1, query.shape[2], key.shape[2])
            elif mask.dtype == torch.bool:
                mask = torch.zeros(mask.shape).masked_fill(~mask, float("-inf"))
            mask = mask.clone()
            mask[..., :entries] = float("-inf")
        options.pop("is_causal", None)
        return sdpa_attention_forward(module, query, key, value, mask, **options)

    AttentionInterface.register("hiding", attend)
    AttentionMaskInterface.register("hiding", sdpa_mask)
    held = model.decoder.config._attn_implementation
    model.decoder.set_attn_implementation("hiding")
    ids, found = model.question_ids(QUESTION), []
    cache = roomy_cache(list(keys[:, None]), list(values[:, None]), 40)
    try:
        with torch.no_grad():
            for _ in range(12):
                places = torch.arange(position, position + len(ids))[None]
                output = model.decoder(input_ids=torch.tensor([ids]), position_ids=places, past_key_values=cache)
                position, ids = position + len(ids), [int(output.logits[0, -1].argmax())]
                found += ids
    finally:
        model.decoder.set_attn_implementation(held)
    return tuple(found)


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_a_batch_answers_as_each_alone(attn):
    model = focused()
    model.decoder.set_attn_implementation(attn)
    long, short = model.prefix(model.compress(WINDOWS, 2)), model.prefix(model.compress(WINDOWS[2:], 2))
    clear = model.prefix(model.compress(WINDOWS[1:2], 1), ratio=1)
    prefixes, questions = [long, short, clear, model.text_prefix()], [QUESTION, "When?", "Where is it?", "Why?"]
    alone = [tokens(model, [prefix], [question])[0] for prefix, question in zip(prefixes, questions, strict=True)]
    assert tokens(model, prefixes, questions) == alone
    assert len(set(alone)) == 4


def test_memory_may_stand_behind_any_clear_text():
    model = focused()
    memories = model.compress(WINDOWS, 2)
    opening = model.token_ids(model.config.prefix_text, special=True)
    assert tokens(model, [model.prefix(memories, opening)]) == tokens(model, [model.prefix(memories)])
    assert model.prefix(memories, [*opening, *IDS[:7]]).length == model.prefix(memories).length + 7


def test_memories_in_different_layers_are_not_mixed():
    model = focused()
    prefixes = [model.prefix(model.compress(WINDOWS, ratio), ratio=ratio) for ratio in (2, 4)]
    with pytest.raises(ConfigError, match="cannot share a batch"):
        stack_prefixes(prefixes)
    with pytest.raises(ConfigError, match="A memory has 1 levels; at ratio 2 it has 2"):
        model.prefix(model.compress(WINDOWS, 4), ratio=2)


def test_fingerprints_go_by_the_layers_in_use():
    one, other = focused(), focused(layers=(1, 2, 0, 3))
    assert one.fingerprint(2) == other.fingerprint(2)
    assert one.fingerprint(4) != other.fingerprint(4)
    assert one.fingerprint(2) != focused(placement="staggered", layers=()).fingerprint(2)


def test_a_saved_model_keeps_its_layers(tmp_path):
    model = focused()
    model.save_pretrained(tmp_path / "model")
    again = RCCModel.from_pretrained(tmp_path / "model", device="cpu", dtype="float32")
    assert again.config == model.config and again.fingerprint() == model.fingerprint()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": ()}, "needs layers"),
        ({"layers": (0, 1, 1, 2)}, "every decoder layer once"),
        ({"layers": (0, 1, 2, 4)}, "every decoder layer once"),
        ({"layers": (2, 0, 1)}, "names 3 layers; .* has 4"),
        ({"layers": (0, 1, 2, -3)}, "layers must be a whole number"),
        ({"placement": "staggered"}, "layers are for focused placement"),
        ({"injection": "residual"}, "for kv injection"),
        ({"base": {"sliding_window": 32}, "family": "mistral"}, "sliding window"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        focused(**settings)


def test_a_ratio_that_leaves_no_layer_is_refused():
    with pytest.raises(ConfigError, match="ratio 5 leaves no layer with memory"):
        focused().compress(WINDOWS, 5, untrained=True)


@pytest.mark.parametrize("family", FAMILIES)
def test_ranking_names_every_layer_and_leaves_the_model_as_it_was(family):
    model = focused(family)
    held = model.decoder.config._attn_implementation
    assert sorted(rank_layers(model)) == [0, 1, 2, 3]
    assert model.decoder.config._attn_implementation == held
