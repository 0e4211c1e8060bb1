"""Tools for a small local model: told in the prompt, chosen among, and read out of what the model wrote."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rcc_integrations.errors import ConfigError

#: What a call begins and ends with.
OPEN, CLOSE = "<tool_call>", "</tool_call>"
_CALL = re.compile(rf"{OPEN}(.*?){CLOSE}", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A call of a function that the model wrote.

    Args:
        name: The function.
        arguments: Its arguments.
        id: Random, to tell calls apart.
    """

    name: str
    arguments: dict[str, Any]
    id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex}")


@dataclass(frozen=True)
class ToolChoice:
    """What a call may do with its tools.

    Args:
        mode: `auto` leaves the choice to the model, `any` asks for a call, `none` for none.
        functions: Those that may be called.
    """

    mode: Literal["auto", "any", "none"]
    functions: tuple[dict[str, Any], ...] = ()

    @classmethod
    def read(cls, choice: Any, functions: Sequence[dict[str, Any]]) -> ToolChoice:
        """Read a tool choice in any of the forms that frameworks use.

        Args:
            choice: `auto` or `None`, `any`, `required` or `True`, `none` or `False`, a tool's name, or a dict:
                `{"type": "function", "function": {"name": …}}`, `{"type": "tool", "name": …}`, `{"type": "any"}`.
            functions: The tools that there are.

        Raises:
            ConfigError: If a tool is named that there is not, or a call is asked for where there are no tools.
        """
        if isinstance(choice, Mapping):
            inner = choice.get("function")
            choice = (inner if isinstance(inner, Mapping) else choice).get("name", choice.get("type"))
        if choice in (None, "auto"):
            return cls("auto" if functions else "none", tuple(functions))
        if choice == "none" or choice is False:
            return cls("none")
        known = ", ".join(function["name"] for function in functions) or "none"
        if choice in ("any", "required") or choice is True:
            if not functions:
                raise ConfigError(f"tool_choice {choice!r} asks for a call, and there are no tools: bind some.")
            return cls("any", tuple(functions))
        named = tuple(function for function in functions if function["name"] == choice)
        if not named:
            raise ConfigError(f"tool_choice {choice!r} names no tool that is bound; there are: {known}.")
        return cls("any", named)


def function_of(tool: Any) -> dict[str, Any]:
    """Return the function of a tool in OpenAI's form: name, description, JSON schema of parameters.

    Raises:
        ConfigError: If it is a tool that a provider runs itself, such as a web search, or of no known form.
    """
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        kind = tool.get("type", tool) if isinstance(tool, Mapping) else tool
        raise ConfigError(
            f"The tool {kind!r:.80} is not a function. Tools that a provider runs itself do not exist here: give a "
            "function, a tool of the framework, a pydantic class, or "
            '{"type": "function", "function": {"name": …, "parameters": …}}.'
        )
    return dict(function)


def instructions(functions: Sequence[dict[str, Any]]) -> str:
    """Return the words that tell the model of its tools."""
    lines = "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
    return (
        "You can call these functions:\n"
        f"{lines}\n"
        "To call a function, answer with nothing but\n"
        f'{OPEN}{{"name": "the function", "arguments": {{...}}}}{CLOSE}\n'
        "Once you have its result, answer in words."
    )


def call_text(name: str, arguments: Any) -> str:
    """Return a call of a function as the model writes it."""
    return f"{OPEN}{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False, default=str)}{CLOSE}"


def read_calls(text: str) -> tuple[str, list[Call]]:
    """Take the calls out of what the model wrote.

    Args:
        text: The answer.

    Returns:
        The words around the calls, and the calls.
    """
    calls = []
    for found in _CALL.finditer(text):
        try:
            data = json.loads(found[1])
        except ValueError:
            continue
        if isinstance(data, dict) and isinstance(data.get("name"), str):
            calls.append(Call(data["name"], data.get("arguments") or {}))
    return (_CALL.sub("", text).strip() if calls else text), calls


def parameters_of(function: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a function's arguments: an object, with no other properties unless it allows them."""
    parameters = dict(function.get("parameters") or {})
    if "$ref" not in parameters and "anyOf" not in parameters:
        parameters.setdefault("type", "object")
        parameters.setdefault("properties", {})
        parameters.setdefault("additionalProperties", False)
    return parameters
