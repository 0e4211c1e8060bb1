"""Tools for a small local model: told in the prompt, and held to their schemas while a call is written."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from typing import Any

from langchain_core.messages.tool import ToolCall, tool_call
from langchain_core.utils.function_calling import convert_to_openai_tool

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.grammar import Grammar, bounded

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


def as_functions(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Return tools of any kind that LangChain knows as functions: name, description, JSON schema of parameters."""
    return [convert_to_openai_tool(tool)["function"] for tool in tools]


def chosen(tool_choice: Any, functions: Sequence[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Read a tool choice.

    Args:
        tool_choice: `auto` or `None`, `any`, `required` or `True`, `none` or `False`, a tool's name, or OpenAI's form
            `{"type": "function", "function": {"name": …}}`.
        functions: The tools that there are.

    Returns:
        `auto`, `any` or `none`, and the functions that may be called.

    Raises:
        ConfigError: If a tool is named that there is not.
    """
    if isinstance(tool_choice, dict):
        tool_choice = (tool_choice.get("function") or tool_choice).get("name", tool_choice.get("type"))
    if tool_choice in (None, "auto"):
        return "auto", list(functions)
    if tool_choice in ("any", "required") or tool_choice is True:
        return "any", list(functions)
    if tool_choice == "none" or tool_choice is False:
        return "none", []
    named = [function for function in functions if function["name"] == tool_choice]
    if not named:
        known = ", ".join(function["name"] for function in functions)
        raise ConfigError(f"tool_choice {tool_choice!r} names no tool that is bound; there are: {known or 'none'}.")
    return "any", named


def instructions(functions: Sequence[dict[str, Any]]) -> str:
    """Return the words that tell the model of its tools."""
    lines = "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
    return (
        "You can call these functions:\n"
        f"{lines}\n"
        "To call a function, answer with nothing but\n"
        '<tool_call>{"name": "the function", "arguments": {...}}</tool_call>\n'
        "Once you have its result, answer in words."
    )


def call_grammar(functions: Sequence[dict[str, Any]], *, forced: bool) -> Grammar:
    """Return the grammar of one call of one of some functions.

    Args:
        functions: What may be called.
        forced: Whether words instead of a call are ruled out.
    """
    calls = [
        {
            "type": "object",
            "properties": {"name": {"const": each["name"]}, "arguments": bounded(_parameters(each))},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for each in functions
    ]
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    words = "" if forced else r" | /[^<](.|\n)*/"
    options = json.dumps({"x-guidance": {"whitespace_flexible": False}, **schema})
    return Grammar.lark(f'start: call{words}\ncall: "<tool_call>" body "</tool_call>"\nbody: %json {options}\n')


def read_calls(text: str) -> tuple[str, list[ToolCall]]:
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
            calls.append(tool_call(name=data["name"], args=data.get("arguments") or {}, id=f"call_{uuid.uuid4().hex}"))
    return (_CALL.sub("", text).strip() if calls else text), calls


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    parameters = dict(function.get("parameters") or {})
    parameters.setdefault("type", "object")
    parameters.setdefault("properties", {})
    if not parameters["properties"]:
        parameters["additionalProperties"] = False
    parameters.setdefault("additionalProperties", False)
    return parameters
