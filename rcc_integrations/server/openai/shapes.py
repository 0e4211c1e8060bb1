"""Answers in the shapes of OpenAI's interfaces."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from rcc_integrations.chat.tools import Call
from rcc_integrations.memory.records import CollectionRecord
from rcc_integrations.reader.answer import Answer

#: How answers end, in OpenAI's words.
FINISH = {"stop": "stop", "length": "length", "cancelled": "stop"}


def file_id(collection: str, document: str, metadata: dict[str, Any]) -> str:
    """Return the id of a document as a file: the one that it was uploaded with, or one made from its names.

    Args:
        collection: The collection's uid.
        document: The document's id.
        metadata: Its metadata.
    """
    given = metadata.get("file_id")
    if isinstance(given, str):
        return given
    return f"file-{hashlib.blake2b(f'{collection}/{document}'.encode(), digest_size=12).hexdigest()}"


def usage_of(answer: Answer) -> dict[str, Any]:
    """Return what an answer took; memory slots are input that was read from a cache."""
    usage = answer.usage
    given = usage.memory_slots + usage.question_tokens + usage.clear_tokens
    return {
        "prompt_tokens": given, "completion_tokens": usage.answer_tokens, "total_tokens": given + usage.answer_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.memory_slots, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0,
                                      "rejected_prediction_tokens": 0},
    }  # fmt: skip


def places_of(answer: Answer) -> list[dict[str, Any]]:
    """Return where the documents say what an answer says, best first: spans of a grounded one, or its support."""
    places: list[dict[str, Any]] = []
    for span in answer.spans:
        around = next((source for source in answer.sources if source.document == span.document
                       and source.start <= span.start and span.end <= source.end), None)  # fmt: skip
        text = answer.text if around is None else around.text[span.start - around.start : span.end - around.start]
        places.append({"document": span.document, "start": span.start, "end": span.end, "text": text, "score": 1.0})
    return places or [asdict(place) for place in answer.support]


def page_address(base: str, collection: str, document: str, start: int, end: int) -> str:
    """Return where the page shows a span of a document."""
    return f"{base}/#/{quote(collection, safe='')}/{quote(document, safe='')}?start={start}&end={end}"


def url_citations(answer: Answer, base: str) -> list[dict[str, Any]]:
    """Return the places of an answer as annotations of a chat completion, which open in the page."""
    return [
        {"type": "url_citation", "url_citation": {
            "start_index": 0, "end_index": len(answer.text), "title": place["document"],
            "url": page_address(base, answer.collection, place["document"], place["start"], place["end"])}}
        for place in places_of(answer)
    ]  # fmt: skip


def own_part(answer: Answer) -> dict[str, Any]:
    """Return what OpenAI's shapes have no place for: the field `rcc`."""
    plain = answer.to_dict()
    names = ("collection", "revision", "confidence", "stated", "supported", "spans", "support", "sources", "usage",
             "timings")  # fmt: skip
    return {name: plain[name] for name in names}


def tool_calls(calls: list[Call]) -> list[dict[str, Any]]:
    """Return calls of functions as a chat completion has them."""
    return [
        {"index": number, "id": call.id, "type": "function",
         "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}}
        for number, call in enumerate(calls)
    ]  # fmt: skip


def model_entry(record: CollectionRecord) -> dict[str, Any]:
    """Return a collection as a model."""
    return {"id": record.name, "object": "model", "created": int(record.created), "owned_by": "rcc-integrations"}
