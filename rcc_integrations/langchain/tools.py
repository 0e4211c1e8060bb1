"""LangChain's tools and formats as functions and JSON schemas."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools.base import create_schema_from_function
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from rcc_integrations.chat.schemas import class_schema
from rcc_integrations.chat.tools import function_of
from rcc_integrations.errors import ConfigError

#: Keywords of a JSON schema; a dict with one of them is one.
_SCHEMA = {"type", "properties", "$ref", "$defs", "anyOf", "oneOf", "allOf", "enum", "const"}


def as_functions(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Return tools of any kind that LangChain knows as functions: name, description, JSON schema of parameters.

    Raises:
        ConfigError: If one is no function, such as a tool that a provider runs itself.
    """
    return [_function(tool) for tool in tools]


def as_schema(schema: Any) -> dict[str, Any]:
    """Return the JSON schema of a pydantic class, a TypedDict or a dict.

    Raises:
        ConfigError: If it is none of them.
    """
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return class_schema(schema)
    if isinstance(schema, Mapping) and _SCHEMA & set(schema) and not {"parameters", "function"} & set(schema):
        return dict(schema)
    try:
        return dict(convert_to_json_schema(schema))
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{schema!r:.120} is no schema: give a pydantic class, a TypedDict, or a JSON schema. {error}"
        ) from error


def as_response_format(given: Any) -> Any:
    """Return a response format; a class stands for its schema."""
    return as_schema(given) if isinstance(given, type) else given


def _function(tool: Any) -> dict[str, Any]:
    try:
        made = convert_to_openai_tool(tool)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"{tool!r:.120} is no tool: give a function with a docstring, a LangChain tool, a pydantic class, or a "
            f"JSON schema with name and parameters. {error}"
        ) from error
    function = function_of(made)
    # LangChain's own conversion follows references, and loses what refers to itself.
    if (arguments := _arguments(tool)) is not None:
        described = class_schema(arguments)
        if "$defs" in described or "$ref" in described:
            function["parameters"] = described
    return function


def _arguments(tool: Any) -> Any:
    """Return the pydantic class of a tool's arguments, where there is one."""
    if isinstance(tool, type):
        return tool if is_basemodel_subclass(tool) else None
    if isinstance(tool, BaseTool):
        schema = tool.tool_call_schema
        return schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
    if callable(tool):
        function: Callable[..., Any] = tool
        with contextlib.suppress(Exception):  # a function that LangChain itself has described already
            return create_schema_from_function(function.__name__, function, parse_docstring=False)
    return None
