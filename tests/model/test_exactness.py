"""At ratio 1, kv injection is the base model's own key/value cache, for every family."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicCache

from rcc_integrations.model.cache import cache_contents
from rcc_integrations.model.options import GenerationOptions
from tests.tiny import FAMILIES, TEXT, tiny_base, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_ratio_one_is_the_full_text_cache(family):
    model = tiny_model(family, window=512, prefix_text="")
    (window,) = model.cut(TEXT)
    prefix = model.prefix(model.compress([window.ids], 1))
    with torch.no_grad():
        plain = model.decoder(input_ids=torch.tensor([window.ids]), past_key_values=DynamicCache())
    keys, values = cache_contents(plain.past_key_values)
    assert prefix.slots == len(window.ids)
    torch.testing.assert_close(prefix.keys, keys[:, 0], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(prefix.values, values[:, 0], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_ratio_one_answers_like_the_base_on_the_full_text(family):
    model = tiny_model(family, window=512, prefix_text="")
    (window,) = model.cut(TEXT)
    question = model.question_ids("Who approves leave?")
    prefix = model.prefix(model.compress([window.ids], 1))
    answer = model.generate([prefix], [question], GenerationOptions(max_new_tokens=24))[0]
    with torch.no_grad():
        plain = tiny_base(family).generate(
            torch.tensor([[*window.ids, *question]]), max_new_tokens=24, do_sample=False, eos_token_id=2, pad_token_id=2
        )
    assert list(answer.ids) == plain[0, len(window.ids) + len(question) :].tolist()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_window_does_not_depend_on_its_batch(family):
    model = tiny_model(family)
    ids = tiny_tokenizer()(TEXT)["input_ids"]
    windows = [ids[:64], ids[10:23], ids[64:70], ids[3:4]]
    for ratio in (1, 2, 4, 8):
        together = model.compress(windows, ratio)
        for window, memory in zip(windows, together, strict=True):
            (alone,) = model.compress([window], ratio)
            assert memory["key"].shape[-2] == -(-len(window) // ratio)
            for name in ("key", "value"):
                torch.testing.assert_close(memory[name], alone[name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_order_and_number_change_nothing_but_positions(family):
    """Memories put together one by one, in any order, equal a prefix whose keys were rotated in one piece."""
    model = tiny_model(family)
    ids = tiny_tokenizer()(TEXT)["input_ids"]
    memories = model.compress([ids[:64], ids[64:90], ids[20:60]], 4)
    whole = model.prefix(memories)
    start = model.text_prefix().length
    for order in ([0, 1, 2], [2, 0, 1], [1]):
        prefix = model.prefix([memories[number] for number in order])
        at = start
        for number in order:
            slots = memories[number]["value"].shape[-2]
            torch.testing.assert_close(prefix.values[:, :, at : at + slots], memories[number]["value"])
            at += slots
        assert at == prefix.length
    # Turning a key back by its distance gives what it was before it was moved.
    moved = model.prefix([memories[1], memories[0]])
    first = memories[0]["key"].shape[-2]
    distance = memories[1]["key"].shape[-2]
    here = whole.keys[:, :, start : start + first]
    there = moved.keys[:, :, start + distance : start + distance + first]
    assert not torch.allclose(here, there)
    torch.testing.assert_close(here.norm(dim=-1), there.norm(dim=-1), atol=1e-4, rtol=1e-4)


def test_keys_are_rotated_as_the_decoder_would_have():
    """The same text behind another text: stored keys, rotated, equal the decoder's own at those positions."""
    for family in FAMILIES:
        model = tiny_model(family, window=64, prefix_text="")
        ids = tiny_tokenizer()(TEXT)["input_ids"]
        first, second = ids[:20], ids[20:50]
        prefix = model.prefix(model.compress([first, second], 1))
        layer = 0  # the first layer's keys do not depend on what stands before, only on where
        with torch.no_grad():
            plain = model.decoder(input_ids=torch.tensor([first + second]), past_key_values=DynamicCache())
        keys, _ = cache_contents(plain.past_key_values)
        torch.testing.assert_close(prefix.keys[layer], keys[layer, 0], atol=2e-5, rtol=1e-4)
