"""Answers as LangChain's messages, with usage and metadata."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call

from rcc_integrations.chat.tools import read_calls
from rcc_integrations.reader.answer import Answer


def usage_of(answer: Answer) -> UsageMetadata:
    """Return what an answer took; memory slots are input that was read from a cache."""
    usage = answer.usage
    given = usage.memory_slots + usage.question_tokens
    return UsageMetadata(
        input_tokens=given,
        output_tokens=usage.answer_tokens,
        total_tokens=given + usage.answer_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.memory_slots),
    )


def judgement_of(answer: Answer) -> dict[str, Any]:
    """Return how far the documents bear an answer out."""
    return {
        "confidence": answer.confidence,
        "supported": answer.supported,
        "spans": [asdict(span) for span in answer.spans],
        "support": [asdict(place) for place in answer.support],
    }


def message_of(answer: Answer, model_name: str, *, wants_calls: bool) -> AIMessage:
    """Return an answer as a message.

    Args:
        answer: The answer.
        model_name: For the metadata.
        wants_calls: Whether calls of tools in it are to be read.
    """
    content, calls = read_calls(answer.text) if wants_calls else (answer.text, [])
    metadata: dict[str, Any] = {
        "model_name": model_name,
        "model_provider": "rcc",
        "finish_reason": "tool_calls" if calls else answer.finish_reason,
        "sources": [asdict(source) for source in answer.sources],
        "timings": asdict(answer.timings),
    }
    if answer.collection:
        metadata |= {"collection": answer.collection, "revision": answer.revision} | judgement_of(answer)
    told = [tool_call(name=call.name, args=call.arguments, id=call.id) for call in calls]
    return AIMessage(content=content, tool_calls=told, response_metadata=metadata, usage_metadata=usage_of(answer))
