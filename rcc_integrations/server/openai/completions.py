"""`/v1/completions`: a prompt is a question."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.request import Request as ReaderRequest
from rcc_integrations.server.engine import while_connected
from rcc_integrations.server.openai.asking import Asking
from rcc_integrations.server.openai.messages import read_prompt
from rcc_integrations.server.openai.models import collection_of
from rcc_integrations.server.openai.schema import CompletionRequest, unsupported
from rcc_integrations.server.openai.shapes import FINISH, own_part, usage_of
from rcc_integrations.server.service import Service
from rcc_integrations.server.sse import DONE, event, primed


def router(service: Service) -> APIRouter:
    """Return the routes.

    Args:
        service: What answers.
    """
    routes = APIRouter(tags=["OpenAI"])

    def make_request(body: CompletionRequest, prompt: str) -> ReaderRequest:
        settings = body.settings(
            collection_of(service, body.model), body.max_tokens or 128, grounded=service.settings.grounded
        )
        return Asking(service.reader, read_prompt(prompt), settings, body.stop or ()).request()

    @routes.post("/completions", response_model=None)
    async def create_completion(body: CompletionRequest, http: Request) -> Response | dict[str, Any]:
        """Answer a prompt, or each of several, from the collection that is named as model."""
        for name, plain in (("echo", False), ("best_of", 1), ("suffix", ""), ("logprobs", 0)):
            if getattr(body, name) not in (None, plain):
                raise unsupported(name, getattr(body, name))
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        head = {"id": f"cmpl-{secrets.token_hex(12)}", "object": "text_completion", "created": int(time.time()),
                "model": body.model}  # fmt: skip
        if body.stream:
            if len(prompts) != 1:
                raise unsupported("prompt", "several prompts as a stream")
            return await while_connected(http, primed(stream(body, prompts[0], head)))
        answers = []
        for prompt in prompts:
            answers.append(
                await while_connected(http, service.engine.answer(lambda prompt=prompt: make_request(body, prompt)))  # type: ignore[misc]
            )
        choices = [
            {"index": number, "text": answer.text, "finish_reason": FINISH[answer.finish_reason], "logprobs": None}
            for number, answer in enumerate(answers)
        ]
        used = [usage_of(answer) for answer in answers]
        usage = {name: sum(each[name] for each in used) for name in
                 ("prompt_tokens", "completion_tokens", "total_tokens")}  # fmt: skip
        own = {"rcc": own_part(answers[0])} if len(answers) == 1 and answers[0].collection else {}
        return {**head, "choices": choices, "usage": usage, **own}

    async def stream(body: CompletionRequest, prompt: str, head: dict[str, Any]) -> AsyncGenerator[bytes]:
        def chunk(text: str, finish: str | None = None, **more: Any) -> bytes:
            choice = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
            return event({**head, "choices": [choice], **more})

        async with aclosing(service.engine.stream(lambda: make_request(body, prompt))) as pieces:
            async for piece in pieces:
                if isinstance(piece, Answer):
                    yield chunk(
                        "", FINISH[piece.finish_reason], **({"rcc": own_part(piece)} if piece.collection else {})
                    )
                    if body.stream_options is not None and body.stream_options.include_usage:
                        yield event({**head, "choices": [], "usage": usage_of(piece)})
                    yield DONE
                else:
                    yield chunk(piece)

    return routes
