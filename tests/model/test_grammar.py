from __future__ import annotations

import json

import pytest

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.grammar import Grammar
from rcc_integrations.model.options import GenerationOptions


def write(model, *grammars, **options):
    prefixes = [model.prefix(model.compress([[1, 2, 3, 4 + number]])) for number in range(len(grammars))]
    questions = [model.question_ids("Who sails?")] * len(grammars)
    return model.generate(prefixes, questions, GenerationOptions(**options), grammars=grammars)


def test_rows_of_a_batch_follow_their_own_grammars(model):
    grammars = (Grammar.choice(["high", "low"]), None, Grammar.regex("[0-9]{4}"))
    first, free, number = write(model, *grammars, max_new_tokens=20, min_new_tokens=20, temperature=1.0, seed=1)
    assert first.text in ("high", "low") and first.finish_reason == "stop"
    assert len(free.ids) == 20
    assert number.text.isdigit() and len(number.text) == 4


@pytest.mark.parametrize("seed", range(4))
def test_json_is_whole_and_nothing_follows(model, seed):
    schema = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 9}}, "required": ["name"]}
    (found,) = write(model, Grammar.json_schema(schema), max_new_tokens=80, temperature=1.5, seed=seed)
    assert found.finish_reason == "stop"
    assert set(json.loads(found.text)) == {"name"} and len(json.loads(found.text)["name"]) <= 9


def test_what_cannot_be_enforced_is_said():
    with pytest.raises(ConfigError, match="regular expression"):
        Grammar.regex("(")
    with pytest.raises(ConfigError, match="JSON schema"):
        Grammar.json_schema({"type": "banana"})
    with pytest.raises(ConfigError, match="The grammar cannot"):
        Grammar.lark("start: nothing")
    for choices in ([], ["a", ""]):
        with pytest.raises(ConfigError, match="non-empty texts"):
            Grammar.choice(choices)


def test_stop_strings_cut_words_and_nothing_that_is_held(model):
    held = Grammar.json_schema({"type": "object", "properties": {"a": {"const": "x END y"}}, "required": ["a"]})
    mixed = Grammar.lark('start: "<END>" | /[^<](.|\\n)*/', words=True, opening="<")
    forced = Grammar.lark('start: "<aEND>"', words=True, opening="<")
    whole, words, call = write(model, held, mixed, forced, max_new_tokens=60, stop=("END", "e"), seed=1)
    assert whole.text == '{"a":"x END y"}' and call.text == "<aEND>"
    assert "e" not in words.text
