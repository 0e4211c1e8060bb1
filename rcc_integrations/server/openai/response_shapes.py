"""Items of `/v1/responses`."""

from __future__ import annotations

import json
from typing import Any

from rcc_integrations.chat.tools import Call
from rcc_integrations.reader.answer import Answer
from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.openai.shapes import places_of


def as_messages(given: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the input of a response as messages of a chat completion.

    Args:
        given: Text, or items: messages, calls of functions and their outputs.

    Raises:
        RequestError: An item is of another kind.
    """
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict[str, Any]] = []
    for number, item in enumerate(given):
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item.get("role"), "content": item.get("content")})
        elif kind == "function_call":
            call = {"function": {"name": item.get("name"), "arguments": item.get("arguments")}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            messages.append({"role": "tool", "content": str(item.get("output"))})
        elif kind not in ("file_search_call", "reasoning"):
            raise RequestError(400, f"Invalid value for 'input[{number}].type': {kind!r} cannot be read.",
                               param=f"input[{number}].type", code="invalid_value")  # fmt: skip
    return messages


def message_item(id: str, text: str | None, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the item of an answer's text; without text, one that is being written."""
    content = [] if text is None else [
        {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}
    ]  # fmt: skip
    return {"id": id, "type": "message", "role": "assistant", "content": content,
            "status": "in_progress" if text is None else "completed"}  # fmt: skip


def file_citations(answer: Answer, ids: dict[str, str]) -> list[dict[str, Any]]:
    """Return the places of an answer as annotations; `rcc` says where in the file, which OpenAI's shape cannot.

    Args:
        answer: The answer.
        ids: Ids of files by document.
    """
    return [
        {"type": "file_citation", "index": len(answer.text), "file_id": ids[place["document"]],
         "filename": place["document"], "rcc": {"start": place["start"], "end": place["end"], "text": place["text"]}}
        for place in places_of(answer) if place["document"] in ids
    ]  # fmt: skip


def search_item(response: str, query: str, results: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return the item of a search.

    Args:
        response: Id of the response.
        query: What was looked for.
        results: What came of it; `None` if it was not asked for.
    """
    return {"id": f"fs_{response.removeprefix('resp_')}", "type": "file_search_call", "queries": [query],
            "status": "completed", "results": results}  # fmt: skip


def call_items(calls: list[Call]) -> list[dict[str, Any]]:
    """Return the items of calls of functions."""
    return [
        {"id": f"fc_{call.id.removeprefix('call_')}", "type": "function_call", "call_id": call.id, "name": call.name,
         "arguments": json.dumps(call.arguments, ensure_ascii=False), "status": "completed"}
        for call in calls
    ]  # fmt: skip


def usage_of_response(answer: Answer) -> dict[str, Any]:
    """Return what an answer took; memory slots are input that was read from a cache."""
    usage = answer.usage
    given = usage.memory_slots + usage.question_tokens + usage.clear_tokens
    return {
        "input_tokens": given, "input_tokens_details": {"cached_tokens": usage.memory_slots},
        "output_tokens": usage.answer_tokens, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": given + usage.answer_tokens,
    }  # fmt: skip
