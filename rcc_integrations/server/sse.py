"""Server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse

from rcc_integrations.server.failures import body_of

#: The end of a stream of OpenAI's chat completions.
DONE = b"data: [DONE]\n\n"


def event(data: Any, name: str | None = None) -> bytes:
    """Return one event.

    Args:
        data: Its data, as JSON values.
        name: Its name; none if not given.
    """
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def primed(events: AsyncGenerator[bytes]) -> StreamingResponse:
    """Return a stream as a response once its first event is there; what fails before is an ordinary error.

    Args:
        events: The events; a failure after the first ends them with an event that holds the error.
    """
    try:
        first = await anext(events)
    except StopAsyncIteration:
        first = b""

    async def all_of_them() -> AsyncIterator[bytes]:
        try:
            yield first
            async for each in events:
                yield each
        except Exception as error:
            yield event(body_of(error))
        finally:
            await events.aclose()

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(all_of_them(), media_type="text/event-stream", headers=headers)
