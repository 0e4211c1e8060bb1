"""Structured output: a schema in, its values out."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.grammar import Grammar, bounded

if TYPE_CHECKING:
    from rcc_integrations.langchain.chat_model import RCCChatModel

METHODS = ("json_schema", "function_calling", "json_mode")


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


def structured_output(
    model: RCCChatModel, schema: Any, method: str, include_raw: bool, kwargs: dict[str, Any]
) -> Runnable[Any, Any]:
    """Build what `RCCChatModel.with_structured_output` returns."""
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}; it is {method!r}.")
    if schema is None and method != "json_mode":
        raise ConfigError(f"method {method!r} needs a schema.")
    note = {"kwargs": {"method": method}, "schema": schema}
    is_class = isinstance(schema, type) and is_basemodel_subclass(schema)
    parser: Any
    bound: Runnable[Any, Any]
    if method == "function_calling":
        name = convert_to_openai_tool(schema)["function"]["name"]
        bound = model.bind_tools([schema], tool_choice=name, ls_structured_output_format=note, **kwargs)
        parser = (
            PydanticToolsParser(tools=[schema], first_tool_only=True)
            if is_class
            else JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)
        )
    else:
        wanted: Any = {"type": "json_object"}
        if schema is not None:
            wanted = {"type": "json_schema", "json_schema": {"schema": convert_to_json_schema(schema)}}
        bound = model.bind(response_format=wanted, ls_structured_output_format=note, **kwargs)
        parser = PydanticOutputParser(pydantic_object=schema) if is_class else JsonOutputParser()
    if not include_raw:
        held: Runnable[Any, Any] = bound | parser
        return held
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")
