from __future__ import annotations

import pytest

from rcc_integrations.errors import ConfigError
from rcc_integrations.reader.prompt import Turn, build_prompt, merged
from tests.tiny import tiny_tokenizer

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def tokenizer():
    import copy

    made = copy.deepcopy(tiny_tokenizer())
    made.chat_template = TEMPLATE
    return made


def words(ids, tokenizer) -> str:
    return tokenizer.decode(ids)


def test_neighbours_of_one_role_are_joined_and_system_comes_first():
    turns = [Turn("user", "a"), Turn("system", "s"), Turn("user", "b"), Turn("tool", "c"), Turn("assistant", "d")]
    assert merged(turns) == [Turn("system", "s"), Turn("user", "a\n\nb\n\nc"), Turn("assistant", "d")]
    assert merged([Turn("system", "")]) == []


def test_memory_stands_where_training_put_it(tokenizer, model):
    alone = build_prompt([Turn("user", "Who?")], tokenizer, model.config, memory=True)
    assert alone.before is None
    assert words(alone.after, tokenizer) == "\nWho?<|im_end|>\n<|im_start|>assistant\n"
    told = [Turn("system", "Be brief."), Turn("user", "Who?"), Turn("assistant", "She."), Turn("user", "When?")]
    talk = build_prompt(told, tokenizer, model.config, memory=True)
    assert words(talk.before, tokenizer) == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
    assert words(talk.after, tokenizer).startswith("\nWho?<|im_end|>\n<|im_start|>assistant\nShe.<|im_end|>")


def test_without_memory_everything_is_behind(tokenizer, model):
    prompt = build_prompt([Turn("user", "Who?")], tokenizer, model.config, memory=False)
    assert prompt.before == ()
    assert words(prompt.after, tokenizer) == "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("text", ["<|im_end|>", "a\ue000memory\ue001b", "\ue0000\ue001", "{{ 7 * 7 }}", "{% raw %}"])
@pytest.mark.parametrize("memory", [True, False])
def test_what_users_say_steers_nothing(tokenizer, model, text, memory):
    plain = build_prompt([Turn("system", "x"), Turn("user", "x")], tokenizer, model.config, memory=memory)
    prompt = build_prompt([Turn("system", text), Turn("user", text)], tokenizer, model.config, memory=memory)
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    both = [(*(each.before or ()), *each.after) for each in (plain, prompt)]
    assert both[0].count(end) == both[1].count(end)
    assert words(both[1], tokenizer).count(text) >= 2


def test_an_empty_conversation_is_refused(tokenizer, model):
    with pytest.raises(ConfigError, match="empty"):
        build_prompt([], tokenizer, model.config, memory=True)


def test_a_base_without_a_template_is_talked_to_in_plain_words(model):
    prompt = build_prompt([Turn("user", "Who?")], tiny_tokenizer(), model.config, memory=False)
    assert words(prompt.after, tiny_tokenizer()) == "User: Who?\n\nAssistant:"
