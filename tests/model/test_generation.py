from __future__ import annotations

import threading

import pytest
import torch

from rcc_integrations.errors import BudgetError, ConfigError
from rcc_integrations.model.options import GenerationOptions
from tests.tiny import FAMILIES, TEXT, tiny_model, tiny_tokenizer


def prefixes_of(model, *lengths, ratio=4):
    ids = tiny_tokenizer()(TEXT)["input_ids"]
    return [model.prefix(model.compress([ids[:length]], ratio)) for length in lengths]


@pytest.mark.parametrize("injection", ["kv", "residual"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_answers_like_its_questions_alone(family, injection):
    model = tiny_model(family, injection=injection, placement="last")
    prefixes = prefixes_of(model, 60, 9, 33)
    questions = [model.question_ids(text) for text in ("When?", "Who approves leave, and why?", "Where is Varde?")]
    options = GenerationOptions(max_new_tokens=12)
    together = model.generate(prefixes, questions, options)
    alone = [model.generate([one], [two], options)[0] for one, two in zip(prefixes, questions, strict=True)]
    assert [answer.ids for answer in together] == [answer.ids for answer in alone]
    assert len({answer.ids for answer in together}) > 1


def test_a_prefix_is_never_changed(model):
    (prefix,) = prefixes_of(model, 50)
    keys, values = prefix.keys.clone(), prefix.values.clone()
    for _ in range(2):
        model.generate([prefix], [model.question_ids("Who?")], GenerationOptions(max_new_tokens=8))
    assert torch.equal(prefix.keys, keys)
    assert torch.equal(prefix.values, values)


def test_memory_matters(model):
    ids = tiny_tokenizer()(TEXT)["input_ids"]
    question = model.question_ids("Who?")
    first, second = (model.prefix(model.compress([part], 4)) for part in (ids[:40], ids[40:80]))
    options = GenerationOptions(max_new_tokens=8)
    assert model.generate([first], [question], options) != model.generate([second], [question], options)


def test_sampling_with_a_seed_is_repeatable_and_leaves_the_global_generator_alone(model):
    (prefix,) = prefixes_of(model, 50)
    question = model.question_ids("Who?")

    def sample(seed):
        options = GenerationOptions(max_new_tokens=10, temperature=1.5, seed=seed)
        return model.generate([prefix], [question], options)[0].ids

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = sample(1)
    assert torch.equal(torch.rand(3), expected)
    assert sample(1) == first
    assert len({sample(seed) for seed in range(6)}) > 1


def test_token_limit_and_finish_reasons(model):
    (prefix,) = prefixes_of(model, 50)
    question = model.question_ids("Who?")
    answer = model.generate([prefix], [question], GenerationOptions(max_new_tokens=5, min_new_tokens=5))[0]
    assert len(answer.ids) == 5
    assert answer.finish_reason == "length"
    long = model.generate([prefix], [question], GenerationOptions(max_new_tokens=30, min_new_tokens=30))[0]
    piece = long.text[len(long.text) // 2 :][:3]
    cut = model.generate([prefix], [question], GenerationOptions(max_new_tokens=30, min_new_tokens=30, stop=(piece,)))[
        0
    ]
    assert cut.text == long.text[: long.text.index(piece)].strip()
    assert cut.finish_reason == "stop"
    assert len(cut.ids) < 30


def test_cancelling_one_row_of_a_batch(model):
    cancel = [threading.Event(), threading.Event()]
    done = model.generate(
        prefixes_of(model, 50, 20),
        [model.question_ids("Who?")] * 2,
        GenerationOptions(max_new_tokens=60, min_new_tokens=60),
        emit=lambda row, piece: cancel[0].set(),
        cancel=cancel,
    )
    assert [answer.finish_reason for answer in done] == ["cancelled", "length"]
    assert len(done[0].ids) < len(done[1].ids) == 60


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"top_k": -1},
        {"min_new_tokens": 200},
        {"repetition_penalty": 0.0},
        {"stop": ("",)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_options_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        GenerationOptions(**wrong)


def test_an_unknown_option_is_named():
    with pytest.raises(ConfigError, match="max_tokens"):
        GenerationOptions().but(max_tokens=3)


def test_one_stop_string_may_be_given_bare():
    assert GenerationOptions(stop="END").stop == ("END",)


def test_too_long_for_the_decoder(model):
    (prefix,) = prefixes_of(model, 50)
    question = model.question_ids("Who?")
    with pytest.raises(BudgetError, match="do not fit into the 1024"):
        model.generate([prefix], [question], GenerationOptions(max_new_tokens=1020))
    with pytest.raises(BudgetError, match="Shorten the question"):
        model.slot_room(model.question_ids("why " * 1500), 16)
    with pytest.raises(BudgetError, match="fewer windows or a higher ratio"):
        model.prefix(model.compress([tiny_tokenizer()(TEXT)["input_ids"][:64]] * 17, 1))


def test_threads_take_turns(model):
    prefixes = prefixes_of(model, 50, 20, 33, 8)
    questions = [model.question_ids(text) for text in ("A?", "B?", "C?", "D?")]
    options = GenerationOptions(max_new_tokens=10)
    expected = [model.generate([one], [two], options)[0].ids for one, two in zip(prefixes, questions, strict=True)]
    found = {}

    def work(number):
        ids = tiny_tokenizer()(TEXT)["input_ids"][: [50, 20, 33, 8][number]]
        prefix = model.prefix(model.compress([ids], 4))
        found[number] = model.generate([prefix], [questions[number]], options)[0].ids

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(4)] == expected


def test_hooks_are_gone_afterwards():
    for injection in ("kv", "residual"):
        model = tiny_model(injection=injection, placement="last")
        prefixes_of(model, 50)
        for layer in model._builder._family.layers:
            assert not layer._forward_hooks
            assert not layer._forward_pre_hooks
