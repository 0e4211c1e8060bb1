"""`PlannedResponse`: one request of `/v1/responses` on its way to an answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.request import Part
from rcc_integrations.reader.request import Request as ReaderRequest
from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.openai.asking import Asking
from rcc_integrations.server.openai.file_store import FileStore
from rcc_integrations.server.openai.messages import read_messages
from rcc_integrations.server.openai.models import collection_of
from rcc_integrations.server.openai.response_shapes import (
    as_messages,
    call_items,
    file_citations,
    message_item,
    search_item,
    usage_of_response,
)
from rcc_integrations.server.openai.schema import ResponseRequest, Sampling
from rcc_integrations.server.openai.search import search
from rcc_integrations.server.openai.shapes import own_part
from rcc_integrations.server.openai.vector_files import VectorFiles
from rcc_integrations.server.service import Service
from rcc_integrations.server.sse import event

_Messages = list[dict[str, Any]]


class PlannedResponse:
    """A response: what it is made from, whole or as events.

    Args:
        service: What answers.
        files: Uploaded files.
        contents: Files in vector stores.
        body: The request.
        before: Messages of the response that it goes on from.
        keep: Called with the response, and the messages up to here.
    """

    def __init__(
        self, service: Service, files: FileStore, contents: VectorFiles, body: ResponseRequest, before: _Messages,
        keep: Callable[[dict[str, Any], _Messages], None],
    ) -> None:  # fmt: skip
        self._service, self._files, self._contents, self._body, self._keep = service, files, contents, body, keep
        self._messages = [*before, *as_messages(body.input)]
        self._id, self._created = f"resp_{secrets.token_hex(12)}", int(time.time())
        tools = body.tools or []
        self._search = next((tool for tool in tools if tool.get("type") == "file_search"), None)
        self._functions: list[dict[str, Any]] = [
            {name: tool[name] for name in ("name", "description", "parameters") if name in tool}
            for tool in tools if tool.get("type") == "function"
        ]  # fmt: skip
        for number, tool in enumerate(tools):
            if tool.get("type") not in ("file_search", "function"):
                raise RequestError(400, f"Unsupported tool type: {tool.get('type')!r}; there are file_search and "
                                   "function.", param=f"tools[{number}].type", code="unsupported_value")  # fmt: skip
        self._results: list[dict[str, Any]] = []
        self._asking: Asking | None = None

    async def whole(self) -> dict[str, Any]:
        """Return the response."""
        answer = await self._service.engine.answer(self.make_request)
        return self._done(answer)

    async def stream(self) -> AsyncGenerator[bytes]:
        """Yield the response as events."""
        number = 0

        def told(kind: str, **more: Any) -> bytes:
            nonlocal number
            number += 1
            return event({"type": kind, "sequence_number": number - 1, **more}, kind)

        message = f"msg_{secrets.token_hex(12)}"
        place = {"item_id": message, "output_index": 0, "content_index": 0}
        held = bool(self._functions)
        begun = False
        async with aclosing(self._service.engine.stream(self.make_request, held=held)) as pieces:
            async for piece in pieces:
                if not begun:
                    begun = True
                    started = self._shape("in_progress", [], None)
                    yield told("response.created", response=started)
                    yield told("response.in_progress", response=started)
                    if self._search is not None:
                        item = self._search_item()
                        place["output_index"] = 1
                        yield told("response.output_item.added", output_index=0,
                                   item={**item, "status": "in_progress", "results": None})  # fmt: skip
                        for step in ("in_progress", "searching", "completed"):
                            yield told(f"response.file_search_call.{step}", output_index=0, item_id=item["id"])
                        yield told("response.output_item.done", output_index=0, item=item)
                    if not held:
                        yield told("response.output_item.added", output_index=place["output_index"],
                                   item=message_item(message, None, []))  # fmt: skip
                        yield told("response.content_part.added", **place,
                                   part={"type": "output_text", "text": "", "annotations": []})  # fmt: skip
                if isinstance(piece, str):
                    yield told("response.output_text.delta", **place, delta=piece, logprobs=[])
                    continue
                response = self._done(piece, message)
                for index, item in enumerate(response["output"]):
                    if item["type"] == "function_call":
                        yield told("response.output_item.added", output_index=index, item={**item, "arguments": ""})
                        yield told("response.function_call_arguments.delta", output_index=index, item_id=item["id"],
                                   delta=item["arguments"])  # fmt: skip
                        yield told("response.function_call_arguments.done", output_index=index, item_id=item["id"],
                                   name=item["name"], arguments=item["arguments"])  # fmt: skip
                        yield told("response.output_item.done", output_index=index, item=item)
                    elif item["type"] == "message":
                        part = item["content"][0]
                        if held:
                            place["output_index"] = index
                            yield told("response.output_item.added", output_index=index,
                                       item=message_item(message, None, []))  # fmt: skip
                            yield told("response.output_text.delta", **place, delta=part["text"], logprobs=[])
                        for each, annotation in enumerate(part["annotations"]):
                            yield told("response.output_text.annotation.added", **place, annotation_index=each,
                                       annotation=annotation)  # fmt: skip
                        yield told("response.output_text.done", **place, text=part["text"], logprobs=[])
                        yield told("response.content_part.done", **place, part=part)
                        yield told("response.output_item.done", output_index=index, item=item)
                ended = "response.incomplete" if response["status"] == "incomplete" else "response.completed"
                yield told(ended, response=response)

    def make_request(self) -> ReaderRequest:
        """Return the reader's request; a search, if one is asked for, is done first."""
        body, reader = self._body, self._service.reader
        if self._search is None:
            named = collection_of(self._service, body.model)
            parts = [] if named is None else [named]
        else:
            parts = [self._contents.collection(id).name for id in self._search.get("vector_store_ids") or []]
        sampling = Sampling(temperature=body.temperature, top_p=body.top_p, rcc=body.rcc)
        settings = sampling.settings(
            parts[0] if parts else None, body.max_output_tokens, grounded=self._service.settings.grounded
        )
        opening = [{"role": "system", "content": body.instructions}] if body.instructions else []
        messages = read_messages([*opening, *self._messages], self._service.settings, self._files.read)
        if self._search is not None:
            self._find(parts, next((m.texts[-1] for m in reversed(messages) if m.role == "user" and m.texts), ""))
            if self._search.get("filters") is not None and parts:
                settings["documents"] = list(dict.fromkeys(each["filename"] for each in self._results))
        form = (body.text or {}).get("format") or {}
        self._asking = Asking(
            reader, messages, settings, functions=self._functions, tool_choice=body.tool_choice,
            response_format=None if form.get("type", "text") == "text" else _nested(form),
        )  # fmt: skip
        request = self._asking.request()
        more = tuple(Part(name, None, body.rcc.max_windows) for name in parts[1:])
        return replace(request, parts=(*request.parts, *more))

    def _find(self, parts: list[str], query: str) -> None:
        assert self._search is not None
        reader, most = self._service.reader, int(self._search.get("max_num_results") or 10)
        self._results = []
        for name in parts:
            record = reader.store.collection(name)
            self._results += search(reader, self._files, record, query, most, self._search.get("filters"))
        self._results = sorted(self._results, key=lambda each: -each["score"])[:most]

    def _done(self, answer: Answer, message: str | None = None) -> dict[str, Any]:
        assert self._asking is not None
        text, calls = self._asking.read(answer)
        output = [self._search_item()] if self._search is not None else []
        if text or not calls:
            ids = {} if not answer.collection else {
                each.document.id: each.id
                for each in self._files.stored_in(self._service.reader.store.collection(answer.collection))
            }  # fmt: skip
            item = message_item(message or f"msg_{secrets.token_hex(12)}", text, file_citations(answer, ids))
            output.append(item)
        output += call_items(calls)
        cut = answer.finish_reason == "length"
        response = self._shape("incomplete" if cut else "completed", output, answer)
        said: dict[str, Any] = {"role": "assistant", "content": answer.text}
        self._keep(response, [*self._messages, said])
        return response

    def _search_item(self) -> dict[str, Any]:
        wanted = "file_search_call.results" in (self._body.include or ())
        query = next((str(each.get("content")) for each in reversed(self._messages) if each.get("role") == "user"), "")
        return search_item(self._id, query, self._results if wanted else None)

    def _shape(self, status: str, output: list[dict[str, Any]], answer: Answer | None) -> dict[str, Any]:
        body = self._body
        return {
            "id": self._id, "object": "response", "created_at": self._created, "model": body.model, "status": status,
            "error": None, "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": body.instructions, "max_output_tokens": body.max_output_tokens, "output": output,
            "parallel_tool_calls": False, "previous_response_id": body.previous_response_id,
            "reasoning": {"effort": None, "summary": None}, "store": body.store is not False,
            "temperature": body.temperature or 0.0, "top_p": body.top_p or 1.0,
            "text": body.text or {"format": {"type": "text"}}, "tool_choice": body.tool_choice or "auto",
            "tools": body.tools or [], "truncation": "disabled", "metadata": body.metadata or {}, "user": body.user,
            "usage": usage_of_response(answer) if answer is not None else None,
            **({"rcc": own_part(answer)} if answer is not None and answer.collection else {}),
        }  # fmt: skip


def _nested(form: dict[str, Any]) -> dict[str, Any]:
    """Return a format of responses as chat completions have it."""
    if form.get("type") != "json_schema":
        return form
    return {"type": "json_schema", "json_schema": {"name": form.get("name"), "schema": form.get("schema") or {}}}
