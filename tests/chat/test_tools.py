from __future__ import annotations

from typing import Any

import pytest

from rcc_integrations.chat.tools import ToolChoice, call_text, function_of, parameters_of, read_calls
from rcc_integrations.errors import ConfigError

SAIL, ROW = {"name": "sail"}, {"name": "row"}


@pytest.mark.parametrize(
    ("choice", "mode", "names"),
    [
        (None, "auto", ["sail", "row"]),
        ("auto", "auto", ["sail", "row"]),
        ({"type": "auto"}, "auto", ["sail", "row"]),
        ("any", "any", ["sail", "row"]),
        ("required", "any", ["sail", "row"]),
        (True, "any", ["sail", "row"]),
        ({"type": "any"}, "any", ["sail", "row"]),
        ("none", "none", []),
        (False, "none", []),
        ({"type": "none"}, "none", []),
        ("row", "any", ["row"]),
        ({"type": "tool", "name": "row"}, "any", ["row"]),
        ({"type": "function", "function": {"name": "row"}}, "any", ["row"]),
    ],
)
def test_every_form_of_a_tool_choice(choice: Any, mode: str, names: list[str]) -> None:
    chosen = ToolChoice.read(choice, [SAIL, ROW])
    assert (chosen.mode, [function["name"] for function in chosen.functions]) == (mode, names)


def test_a_choice_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'swim' names no tool that is bound; there are: sail, row"):
        ToolChoice.read("swim", [SAIL, ROW])
    with pytest.raises(ConfigError, match="there are no tools"):
        ToolChoice.read("any", [])
    assert ToolChoice.read(None, []) == ToolChoice("none")


def test_calls_are_read_as_they_are_written() -> None:
    written = call_text("sail", {"to": "Holm", "at": "7:45 ünd"})
    words, (call,) = read_calls(f"Well. {written}")
    assert (words, call.name, call.arguments) == ("Well.", "sail", {"to": "Holm", "at": "7:45 ünd"})
    assert len({call.id for text in (written, written) for call in read_calls(text)[1]}) == 2
    broken = "<tool_call>{'name': sail}</tool_call>"
    assert read_calls(broken) == (broken, [])


def test_only_functions_are_tools() -> None:
    assert function_of({"type": "function", "function": SAIL}) == SAIL
    for other in ({"type": "web_search"}, {"type": "function", "function": {"name": 3}}, "sail"):
        with pytest.raises(ConfigError, match="is not a function"):
            function_of(other)
    assert parameters_of(SAIL) == {"type": "object", "properties": {}, "additionalProperties": False}
