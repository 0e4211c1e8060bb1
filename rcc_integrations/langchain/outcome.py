"""Answers as LangChain's messages, with usage and metadata."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call

from rcc_integrations.chat.output import Written
from rcc_integrations.reader.answer import Answer


def usage_of(answer: Answer) -> UsageMetadata:
    """Return what an answer took; memory slots are input that was read from a cache."""
    usage = answer.usage
    return UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.answer_tokens,
        total_tokens=usage.input_tokens + usage.answer_tokens,
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


def message_of(written: Written, model_name: str) -> AIMessage:
    """Return an answer as a message.

    Args:
        written: The answer, read.
        model_name: For the metadata.
    """
    answer, calls = written.answer, written.calls
    metadata: dict[str, Any] = {
        "model_name": model_name,
        "model_provider": "rcc",
        "finish_reason": "tool_calls" if calls else answer.finish_reason,
        "sources": [asdict(source) for source in answer.sources],
        "timings": asdict(answer.timings),
        "memory": {"windows": answer.usage.windows, "slots": answer.usage.memory_slots},
    }
    if answer.collection:
        metadata |= {"collection": answer.collection, "revision": answer.revision}
    if answer.usage.windows:
        metadata |= judgement_of(answer)
    told = [tool_call(name=call.name, args=call.arguments, id=call.id) for call in calls]
    return AIMessage(content=written.text, tool_calls=told, response_metadata=metadata, usage_metadata=usage_of(answer))
