"""What an answer may be, words, a call or an object, and what it is once it is written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rcc_integrations.chat.tools import CLOSE, OPEN, Call, ToolChoice, instructions, parameters_of, read_calls
from rcc_integrations.errors import ConfigError, GenerationError
from rcc_integrations.model.grammar import Grammar
from rcc_integrations.model.schema import held_schema, without_repeats
from rcc_integrations.reader.answer import Answer


@dataclass(frozen=True)
class Written:
    """An answer as it is read.

    Args:
        answer: What the reader returned.
        text: Its words, or its object as JSON; without calls.
        calls: The calls in it.
        shown: What of the text was shown while it was written.
    """

    answer: Answer
    text: str
    calls: tuple[Call, ...] = ()
    shown: str = ""

    @property
    def rest(self) -> str:
        """What of the text was not shown yet."""
        return self.text[len(self.shown) :] if self.text.startswith(self.shown) else ""


@dataclass(frozen=True)
class OutputForm:
    """What an answer may be.

    Args:
        grammar: What it is held to; `None` for nothing.
        words: What tells the model of it; empty for nothing.
        functions: Functions that it may call.
        schema: JSON schema of the object that it may be.
        unique: Whether items that come twice have to be taken out of it in the end.
    """

    grammar: Grammar | None = None
    words: str = ""
    functions: tuple[dict[str, Any], ...] = ()
    schema: Mapping[str, Any] | None = None
    unique: bool = False

    @classmethod
    def of(
        cls, functions: Sequence[dict[str, Any]] = (), tool_choice: Any = None, response_format: Any = None
    ) -> OutputForm:
        """Read tools, a choice among them, and a response format.

        With tools and a format, an answer is a call or an object of the format; both are held to their schemas.

        Args:
            functions: Tools: name, description, JSON schema of parameters.
            tool_choice: See `ToolChoice.read`.
            response_format: `{"type": "json_object"}`, OpenAI's `{"type": "json_schema", "json_schema":
                {"schema": …}}`, a JSON schema itself, or `{"type": "text"}` for words.

        Raises:
            ConfigError: If one of them is of no known form, or a schema cannot be enforced.
        """
        choice = ToolChoice.read(tool_choice, functions)
        schema = None if response_format is None else _schema_of(response_format)
        rules: dict[str, str] = {}
        words: list[str] = []
        unique = False
        if choice.mode != "none":
            calls = [_call_schema(function) for function in choice.functions]
            unique = any(unique_items for _, unique_items in calls)
            schemas = [each for each, _ in calls]
            whole = _json(schemas[0] if len(schemas) == 1 else {"anyOf": schemas})
            rules["call"] = f'call: "{OPEN}" body "{CLOSE}"\nbody: %json {whole}'
            words.append(instructions(choice.functions))
        if schema is not None and choice.mode != "any":
            held = held_schema(schema)
            unique = unique or held.unique
            rules["object"] = f"object: %json {_json(held.schema)}"
            told = "" if response_format == {"type": "json_object"} else f" Its schema is:\n{_told(schema)}"
            words.append(f"{'Otherwise answer' if rules.get('call') else 'Answer'} with one JSON value and nothing "
                         f"else.{told}")  # fmt: skip
        if not rules:
            return cls()
        free = choice.mode == "auto" and schema is None
        start = " | ".join([*rules, *([r"/[^<](.|\n)*/"] if free else [])])
        try:
            grammar = Grammar.lark("\n".join([f"start: {start}", *rules.values(), ""]), words=free, opening="<")
        except ConfigError as error:
            named = [function["name"] for function in choice.functions]
            where = f"of the tools {', '.join(named)}" if named else "of the response format"
            raise ConfigError(f"The JSON schema {where} cannot be enforced: {error}") from error
        told_functions = choice.functions if choice.mode != "none" else ()
        return cls(grammar, "\n".join(words), told_functions, schema if "object" in rules else None, unique)

    def read(self, answer: Answer, shown: str = "") -> Written:
        """Read an answer.

        Args:
            answer: The answer.
            shown: What of it was shown already.

        Raises:
            GenerationError: If it is half a call or half an object.
        """
        text = answer.text
        if self.grammar is None or not self.grammar.is_held(text):
            return Written(answer, text, (), shown)
        if self.functions and text.lstrip().startswith(OPEN[:1]):
            rest, calls = read_calls(text)
            if not calls:
                raise _half(answer)
            return Written(answer, rest, tuple(self._settled(call) for call in calls), shown)
        if self.schema is not None:
            try:
                value = json.loads(text)
            except ValueError as error:
                raise _half(answer) from error
            if self.unique:
                text = json.dumps(_unique(value, self.schema), ensure_ascii=False)
        return Written(answer, text, (), shown)

    def _settled(self, call: Call) -> Call:
        if not self.unique:
            return call
        parameters = next(parameters_of(each) for each in self.functions if each["name"] == call.name)
        return Call(call.name, _unique(call.arguments, parameters), call.id)


class Shown:
    """Lets through what may be shown of an answer while it is written: words and objects, but no calls.

    Args:
        form: What the answer may be.
    """

    def __init__(self, form: OutputForm) -> None:
        self._form = form
        self._open: bool | None = False if form.unique else None if form.functions else True
        self._held = ""
        self.text = ""

    def take(self, piece: str) -> str:
        """Take a piece of the answer, and return what can be shown now."""
        if self._open is None:
            self._held += piece
            if not self._held.strip():
                return ""
            self._open = not self._held.lstrip().startswith(OPEN[:1])
            piece, self._held = self._held, ""
        if not self._open:
            return ""
        self.text += piece
        return piece


def _schema_of(response_format: Any) -> dict[str, Any] | None:
    if not isinstance(response_format, Mapping):
        raise ConfigError(
            f"response_format must be a dict, such as {{'type': 'json_object'}} or a JSON schema; it is "
            f"{response_format!r:.80}. For a pydantic class there is with_structured_output, or as_structured_llm."
        )
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "object"}
    if kind == "json_schema":
        inner = response_format.get("json_schema", response_format.get("schema"))
        if not isinstance(inner, Mapping):
            raise ConfigError(f"response_format has no schema: {dict(response_format)!r:.120}.")
        found = inner.get("schema", inner)
        return dict(found)
    return dict(response_format)


def _call_schema(function: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    held = held_schema(parameters_of(function))
    call = {
        "type": "object",
        "properties": {"name": {"const": function["name"]}, "arguments": held.schema},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
    return call, held.unique


def _json(schema: Mapping[str, Any]) -> str:
    return json.dumps({"x-guidance": {"whitespace_flexible": False}, **schema})


def _told(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, ensure_ascii=False)


def _unique(value: Any, schema: Mapping[str, Any]) -> Any:
    try:
        return without_repeats(value, schema)
    except ConfigError as error:
        raise GenerationError(f"The structured answer repeats itself: {error} Ask again, or lower minItems.") from error


def _half(answer: Answer) -> GenerationError:
    if answer.finish_reason == "cancelled":
        return GenerationError(f"The structured answer was stopped before its end; it began {answer.text[:80]!r}.")
    return GenerationError(
        f"The structured answer was not complete after {answer.usage.answer_tokens} tokens: raise max_tokens, "
        f"or bound the schema (maxLength, maxItems). It began {answer.text[:80]!r}."
    )
