"""Tools for a small local model: told in the prompt, and held to their schemas while a call is written."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rcc_integrations.errors import ConfigError, GenerationError
from rcc_integrations.model.grammar import Grammar, bounded
from rcc_integrations.reader.answer import Answer

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)


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


def chosen(tool_choice: Any, functions: Sequence[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """Read a tool choice.

    Args:
        tool_choice: `auto` or `None`, `any`, `required` or `True`, `none` or `False`, a tool's name, or OpenAI's form
            `{"type": "function", "function": {"name": …}}`.
        functions: The tools that there are.

    Returns:
        `auto`, `any` or `none`, and the functions that may be called.

    Raises:
        ConfigError: A tool is named that does not exist.
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
        functions: What may be called: name, description, JSON schema of parameters.
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


def call_text(name: str, arguments: Any) -> str:
    """Return a call of a function as the model writes it."""
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments}, ensure_ascii=False)}</tool_call>"


def output_grammar(response_format: Any) -> tuple[Grammar, str]:
    """Read a response format.

    Args:
        response_format: `{"type": "json_object"}`, OpenAI's `{"type": "json_schema", "json_schema": {"schema": …}}`,
            or a JSON schema itself.

    Returns:
        The grammar of the answer, and words that tell the model of it.

    Raises:
        ConfigError: If it is of no known form.
    """
    if not isinstance(response_format, dict):
        raise ConfigError(f"response_format must be a dict; it is {response_format!r:.80}.")
    if response_format.get("type") == "json_object":
        return Grammar.json_schema(bounded({"type": "object"})), "Answer with one JSON object and nothing else."
    schema: Any = response_format
    if response_format.get("type") == "json_schema":
        inner = response_format.get("json_schema") or {}
        schema = inner.get("schema", inner)
    words = f"Answer with one JSON object and nothing else. Its schema is:\n{json.dumps(schema, ensure_ascii=False)}"
    return Grammar.json_schema(bounded(schema)), words


def check_whole(answer: Answer) -> None:
    """Refuse half an object: an answer that a grammar holds to, and that `max_tokens` cut.

    Raises:
        GenerationError: If it was cut.
    """
    if answer.finish_reason == "length":
        raise GenerationError(
            f"The structured answer was not complete after {answer.usage.answer_tokens} tokens: raise max_tokens, "
            f"or bound the schema (maxLength, maxItems). It began {answer.text[:80]!r}."
        )


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    parameters = dict(function.get("parameters") or {})
    parameters.setdefault("type", "object")
    parameters.setdefault("properties", {})
    if not parameters["properties"]:
        parameters["additionalProperties"] = False
    parameters.setdefault("additionalProperties", False)
    return parameters
