"""`/v1/chat/completions`."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.request import Request as ReaderRequest
from rcc_integrations.server.engine import while_connected
from rcc_integrations.server.openai.asking import Asking
from rcc_integrations.server.openai.file_store import FileStore
from rcc_integrations.server.openai.messages import content_of, read_messages
from rcc_integrations.server.openai.models import collection_of
from rcc_integrations.server.openai.schema import ChatRequest, unsupported
from rcc_integrations.server.openai.shapes import FINISH, own_part, places_of, tool_calls, url_citations, usage_of
from rcc_integrations.server.openai.tasks import task_answer
from rcc_integrations.server.service import Service
from rcc_integrations.server.sse import DONE, event, primed


def router(service: Service, files: FileStore) -> APIRouter:
    """Return the routes.

    Args:
        service: What answers.
        files: Uploaded files, which messages may name.
    """
    routes = APIRouter(tags=["OpenAI"])

    @routes.post("/chat/completions", response_model=None)
    async def create_chat_completion(body: ChatRequest, http: Request) -> Response | dict[str, Any]:
        """Answer a conversation from the collection that is named as model."""
        chat = _Chat(service, files, body, str(http.base_url).rstrip("/"), http.scope.get("rcc_open_webui", False))
        if (done := chat.housekeeping()) is not None:
            return await primed(chat.told(done)) if body.stream else chat.whole(done, None)
        if body.stream:
            return await while_connected(http, primed(chat.stream()))
        answer = await while_connected(http, service.engine.answer(chat.make_request))
        return chat.whole(answer.text, answer)

    return routes


class _Chat:
    """One chat completion.

    Args:
        service: What answers.
        files: Uploaded files.
        body: The request.
        base: The server's address, for citations.
        for_open_webui: Send sources as the events that Open WebUI shows, instead of annotations.
    """

    def __init__(self, service: Service, files: FileStore, body: ChatRequest, base: str, for_open_webui: bool) -> None:
        self._service, self._files, self._body, self._base = service, files, body, base
        self._for_open_webui = for_open_webui
        self._head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": body.model,
                      "system_fingerprint": None}  # fmt: skip
        if body.logprobs:
            raise unsupported("logprobs", True)
        if body.modalities not in (None, ["text"]):
            raise unsupported("modalities", body.modalities)

    def housekeeping(self) -> str | None:
        """Return the answer to a prompt of Open WebUI's own, if it is one."""
        last = self._body.messages[-1]
        if last.get("role") != "user":
            return None
        texts, _ = content_of(
            last.get("content"), f"messages[{len(self._body.messages) - 1}]", self._service.settings, self._files.read
        )
        return task_answer("\n".join(texts))

    def make_request(self) -> ReaderRequest:
        """Return the reader's request."""
        return self._asking.request()

    @cached_property
    def _asking(self) -> Asking:
        body = self._body
        collection = collection_of(self._service, body.model)
        limit = body.max_completion_tokens or body.max_tokens
        given = body.response_format
        return Asking(
            self._service.reader,
            read_messages(body.messages, self._service.settings, self._files.read),
            body.settings(collection, limit, grounded=self._service.settings.grounded),
            body.stop or (),
            functions=[tool.get("function", tool) for tool in body.tools or ()],
            tool_choice=body.tool_choice,
            response_format=None if given is None or given.get("type") == "text" else given,
        )

    def whole(self, text: str, answer: Answer | None) -> dict[str, Any]:
        """Return an answer as a chat completion.

        Args:
            text: The answer.
            answer: What is known of it; `None` if the model did not write it.
        """
        said, calls = self._asking.read(answer) if answer is not None else (text, [])
        message: dict[str, Any] = {"role": "assistant", "content": said or None if calls else said, "refusal": None}
        finish = FINISH[answer.finish_reason] if answer is not None else "stop"
        if calls:
            message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in tool_calls(calls)]
            finish = "tool_calls"
        if answer is not None:
            message["annotations"] = url_citations(answer, self._base)
        return {
            **self._head, "object": "chat.completion",
            "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
            "usage": usage_of(answer) if answer is not None else _NOTHING,
            **({"rcc": own_part(answer)} if answer is not None and answer.collection else {}),
        }  # fmt: skip

    async def told(self, text: str) -> AsyncGenerator[bytes]:
        """Yield the events of an answer that is there."""
        yield self._chunk({"role": "assistant", "content": text})
        for each in self._end({}, "stop", None):
            yield each

    async def stream(self) -> AsyncGenerator[bytes]:
        """Yield the events of an answer as it is written."""
        make: Callable[[], ReaderRequest] = self.make_request
        begun = False
        # Who answers is asked for in a thread, as it may look into the store.
        held = await asyncio.to_thread(lambda: self._asking.is_held)
        async with aclosing(self._service.engine.stream(make, held=held)) as pieces:
            async for piece in pieces:
                if not begun:
                    begun = True
                    yield self._chunk({"role": "assistant", "content": "", "refusal": None})
                if isinstance(piece, str):
                    yield self._chunk({"content": piece})
                    continue
                delta: dict[str, Any] = {}
                finish = FINISH[piece.finish_reason]
                said, calls = self._asking.read(piece)
                if held and said:
                    yield self._chunk({"content": said})
                if calls:
                    yield self._chunk({"tool_calls": tool_calls(calls)})
                    finish = "tool_calls"
                if self._for_open_webui:
                    for source in self._sources(piece):
                        yield source
                elif citations := url_citations(piece, self._base):
                    delta["annotations"] = citations
                for each in self._end(delta, finish, piece):
                    yield each

    def _end(self, delta: dict[str, Any], finish: str, answer: Answer | None) -> list[bytes]:
        own = {"rcc": own_part(answer)} if answer is not None and answer.collection else {}
        events = [self._chunk(delta, finish, **own)]
        options = self._body.stream_options
        if options is not None and options.include_usage:
            usage = usage_of(answer) if answer is not None else _NOTHING
            events.append(event({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
        return [*events, DONE]

    def _sources(self, answer: Answer) -> list[bytes]:
        """Return the passages of an answer as Open WebUI shows them."""
        found = []
        for place, citation in zip(places_of(answer), url_citations(answer, self._base), strict=True):
            name, url = place["document"], citation["url_citation"]["url"]
            data = {"source": {"name": name, "url": url}, "document": [place["text"] or name],
                    "metadata": [{"source": url, "name": name}]}  # fmt: skip
            found.append(self._chunk({}, event={"type": "source", "data": data}))
        return found

    def _chunk(self, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return event({**self._head, "object": "chat.completion.chunk", "choices": [choice], **more})


_NOTHING = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
