"""LangChain's tools as functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.utils.function_calling import convert_to_openai_tool


def as_functions(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Return tools of any kind that LangChain knows as functions: name, description, JSON schema of parameters."""
    return [convert_to_openai_tool(tool)["function"] for tool in tools]
