"""`RCCSelector`: selects a query engine; its output is constrained to those that exist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_selector import BaseSelector, SelectorResult, SingleSelection
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.schema import QueryBundle
from llama_index.core.tools import ToolMetadata

from rcc_integrations.llamaindex.llm import RCCLLM


class RCCSelector(BaseSelector):
    """Selects one choice for a query, for `RouterQueryEngine` and other classes that take a selector.

    LlamaIndex's own selectors parse a number from free text, which a small model may get wrong or never finish.

    Args:
        llm: The LLM that selects.
    """

    def __init__(self, llm: RCCLLM) -> None:
        self._llm = llm

    def _get_prompts(self) -> dict[str, Any]:
        return {}

    def _update_prompts(self, prompts: Any) -> None:
        pass

    def _select(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> SelectorResult:
        return _selected(self._llm.chat(_asked(choices, query), **_settings(choices)))

    async def _aselect(self, choices: Sequence[ToolMetadata], query: QueryBundle) -> SelectorResult:
        return _selected(await self._llm.achat(_asked(choices, query), **_settings(choices)))


def _asked(choices: Sequence[ToolMetadata], query: QueryBundle) -> list[ChatMessage]:
    lines = "\n".join(f"{number}. {choice.name}: {choice.description}" for number, choice in enumerate(choices, 1))
    words = f"Which of these fits the question best?\n{lines}\nQuestion: {query.query_str}"
    return [ChatMessage(words, role=MessageRole.USER)]


def _settings(choices: Sequence[ToolMetadata]) -> dict[str, Any]:
    number = {"enum": list(range(1, len(choices) + 1))}
    schema = {"type": "object", "properties": {"choice": number}, "required": ["choice"]}
    return {"response_format": schema, "collection": None, "documents": None, "compress_over": None,
            "max_tokens": 32, "min_tokens": 0}  # fmt: skip


def _selected(response: ChatResponse) -> SelectorResult:
    index = json.loads(str(response.message.content))["choice"] - 1
    return SelectorResult(selections=[SingleSelection(index=index, reason="chosen by the model")])
