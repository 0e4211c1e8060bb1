"""Structured output: a schema in, its values out."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from rcc_integrations.chat.output import OutputForm
from rcc_integrations.errors import ConfigError
from rcc_integrations.langchain.tools import as_schema

METHODS = ("json_schema", "function_calling", "json_mode")


def structured_output(
    model: BaseChatModel, schema: Any, method: str, include_raw: bool, kwargs: dict[str, Any]
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
            wanted = {"type": "json_schema", "json_schema": {"schema": as_schema(schema)}}
            OutputForm.of(response_format=wanted)  # what cannot be held is said now, not when it is asked
        bound = model.bind(response_format=wanted, ls_structured_output_format=note, **kwargs)
        parser = PydanticOutputParser(pydantic_object=schema) if is_class else JsonOutputParser()
    if not include_raw:
        held: Runnable[Any, Any] = bound | parser
        return held
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")
