"""`Engine`: questions of many clients, through the reader's shared batches."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request as HTTPRequest

from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.request import Request
from rcc_integrations.server.failures import RequestError

_Result = TypeVar("_Result")

#: Requests that the reader has at once, two batches; the others wait where leaving costs nothing.
_AT_ONCE = 16
#: Requests of a batch, for guessing how long a queue takes.
_BATCH = 8
#: For so many seconds after a question, documents are compressed in small batches, which a next question waits for.
_ASKED_LATELY = 20.0
#: It is quiet when nobody has asked for so many seconds.
_QUIET = 0.25


class Engine:
    """Answers requests of many clients, at most so many at once.

    Args:
        reader: The reader.
        max_waiting: The most requests under way and waiting.
    """

    def __init__(self, reader: RCCReader, max_waiting: int) -> None:
        self.reader = reader
        self._max_waiting = max_waiting
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._pending = 0
        self._idle = threading.Event()
        self._idle.set()
        self._seconds = 1.0
        self._last_asked = -math.inf
        self.answered = 0

    @property
    def pending(self) -> int:
        """Requests under way and waiting."""
        return self._pending

    @property
    def asked_lately(self) -> bool:
        """Whether somebody asks, or did a moment ago."""
        return self._pending > 0 or time.monotonic() - self._last_asked < _ASKED_LATELY

    def wait_until_quiet(self, most: float) -> None:
        """Wait until nobody has asked for a moment; called by what can wait, between two steps of its work.

        Who asks one question after the other is not made to wait for such a step in between.

        Args:
            most: The longest to wait, in seconds.
        """
        until = time.monotonic() + most
        while (left := until - time.monotonic()) > 0:
            self._idle.wait(left)
            quiet = time.monotonic() - self._last_asked
            if not self._pending and quiet >= _QUIET:
                return
            time.sleep(min(left, max(0.01, _QUIET - quiet)))

    async def answer(self, make: Callable[[], Request]) -> Answer:
        """Return the answer of a request.

        Args:
            make: Makes the request, in a thread of its own as it may take time.

        Raises:
            RequestError: Too many requests are waiting.
            RCCError: As in `RCCReader.ask`.
        """
        async with contextlib.aclosing(self.stream(make, held=True)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Answer):
                    return piece
        raise RequestError(500, "The answer was lost.", code="internal_error")

    async def stream(self, make: Callable[[], Request], *, held: bool = False) -> AsyncGenerator[str | Answer]:
        """Yield an answer's pieces as they become certain, then the answer; closing the iterator stops the work.

        Args:
            make: Makes the request, in a thread of its own as it may take time.
            held: Yield nothing but the answer.

        Raises:
            RequestError: Too many requests are waiting.
            RCCError: As in `RCCReader.ask`.
        """
        self._enter()
        try:
            async with self._slots:
                request = await asyncio.to_thread(make)
                loop = asyncio.get_running_loop()
                pieces: asyncio.Queue[str | None] = asyncio.Queue()

                def put(piece: str | None) -> None:
                    loop.call_soon_threadsafe(pieces.put_nowait, piece)

                def end(_: object) -> None:
                    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                        put(None)

                started = time.monotonic()
                ticket = self.reader.submit(request, None if held else put)
                ticket.answer.add_done_callback(end)
                try:
                    while (piece := await pieces.get()) is not None:
                        yield piece
                    answer = ticket.answer.result()
                finally:
                    ticket.cancel()
                self.answered += 1
                self._seconds += 0.2 * (time.monotonic() - started - self._seconds)
                yield answer
        finally:
            self._leave()

    def _enter(self) -> None:
        if self._pending >= self._max_waiting:
            wait = min(60, max(1, math.ceil(self._pending / _BATCH * self._seconds)))
            raise RequestError(
                429,
                f"{self._pending} questions are waiting, as many as this server takes: try again in {wait} seconds.",
                code="rate_limit_exceeded",
                retry_after=wait,
            )
        self._pending += 1
        self._idle.clear()

    def _leave(self) -> None:
        self._pending -= 1
        self._last_asked = time.monotonic()
        if not self._pending:
            self._idle.set()


async def while_connected(http: HTTPRequest, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Wait for some work, and cancel it if the client leaves.

    Args:
        http: The client's request; its body must have been read.
        work: The work.

    Raises:
        RequestError: The client left; nobody will read this.
    """
    task, left = asyncio.ensure_future(work), asyncio.ensure_future(_left(http))
    try:
        await asyncio.wait((task, left), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise RequestError(499, "The client left.", code="client_left")
        return task.result()
    finally:
        for each in (task, left):
            if not each.done():
                each.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await each


async def _left(http: HTTPRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass
