from __future__ import annotations

import json
from typing import Any

import pytest

from rcc_integrations.chat.output import OutputForm, Shown
from rcc_integrations.chat.tools import ToolChoice, function_of
from rcc_integrations.errors import ConfigError, GenerationError
from rcc_integrations.reader.answer import Answer, Timings, Usage

FUNCTION = {"name": "tide", "description": "", "parameters": {"type": "object", "properties": {
    "places": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}}}}  # fmt: skip
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def answer(text: str, reason: Any = "stop") -> Answer:
    return Answer(text, (), Usage(0, 0, 9, 0, 0, 0), Timings(0, 0, 0, 0), reason, "", 0)


@pytest.mark.parametrize(
    ("choice", "mode"),
    [
        (None, "auto"), ("auto", "auto"), ({"type": "auto"}, "auto"), ("any", "any"), ("required", "any"),
        (True, "any"), ({"type": "any"}, "any"), ({"type": "required"}, "any"), ("none", "none"), (False, "none"),
        ({"type": "none"}, "none"), ("tide", "any"), ({"type": "tool", "name": "tide"}, "any"),
        ({"type": "function", "function": {"name": "tide"}}, "any"),
    ],
)  # fmt: skip
def test_every_form_of_a_choice_is_read_alike(choice: Any, mode: str) -> None:
    assert ToolChoice.read(choice, [FUNCTION]).mode == mode


def test_wrong_choices_and_tools_are_named() -> None:
    with pytest.raises(ConfigError, match=r"'tides' names no tool that is bound; there are: tide"):
        ToolChoice.read("tides", [FUNCTION])
    with pytest.raises(ConfigError, match="no tools"):
        ToolChoice.read("any", [])
    for tool in ({"type": "web_search"}, {"type": "function"}, 3):
        with pytest.raises(ConfigError, match="is not a function"):
            function_of(tool)
    with pytest.raises(ConfigError, match="response_format"):
        OutputForm.of(response_format="json")
    with pytest.raises(ConfigError, match="tools tide cannot be enforced"):
        OutputForm.of(
            [{"name": "tide", "parameters": {"type": "object", "properties": {"a": {"not": {}, "type": "string"}}}}]
        )


@pytest.mark.parametrize("reason", ["stop", "length", "cancelled"])
def test_half_a_call_or_object_is_always_an_error(reason: str) -> None:
    call = OutputForm.of([FUNCTION])
    for text in ("<tool_call>", '<tool_call>{"name": "tide", "argu', "<"):
        with pytest.raises(GenerationError, match="structured answer"):
            call.read(answer(text, reason))
    with pytest.raises(GenerationError, match="structured answer"):
        OutputForm.of(response_format=SCHEMA).read(answer('{"n": 1', reason))
    # Words may be cut, and what is whole is whole, however it ended.
    assert call.read(answer("The tide is", reason)).text == "The tide is"
    assert OutputForm.of(response_format=SCHEMA).read(answer('{"n": 1}', reason)).text == '{"n": 1}'


def test_a_call_or_an_object() -> None:
    form = OutputForm.of([FUNCTION], None, {"type": "json_schema", "json_schema": {"schema": SCHEMA}})
    assert form.functions and form.schema == SCHEMA and "Otherwise answer" in form.words
    written = form.read(answer('<tool_call>{"name":"tide","arguments":{"places":["a","b","a"]}}</tool_call>'))
    assert [call.arguments for call in written.calls] == [{"places": ["a", "b"]}] and written.text == ""
    assert json.loads(form.read(answer('{"n":3}')).text) == {"n": 3}
    only = OutputForm.of([FUNCTION], "any", SCHEMA)
    assert only.schema is None and only.grammar is not None and only.grammar.cut == "never"
    assert (
        OutputForm.of([FUNCTION], "none").grammar is None
        and OutputForm.of(response_format={"type": "text"}).words == ""
    )


def test_words_are_shown_at_once_and_calls_never() -> None:
    plain = {**FUNCTION, "parameters": {"type": "object", "properties": {}}}
    words, call, alone = Shown(OutputForm.of([plain])), Shown(OutputForm.of([plain])), Shown(OutputForm())
    assert [words.take(piece) for piece in (" ", "The", " tide")] == ["", " The", " tide"]
    assert [call.take(piece) for piece in ("<tool", "_call>", "{}")] == ["", "", ""]
    assert alone.take("<x") == "<x" and words.text == " The tide"
