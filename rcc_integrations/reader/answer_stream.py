"""`AnswerStream`: an answer in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Callable, Iterator
from typing import Self

from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.ticket import Ticket, too_late


class AnswerStream(Iterator[str]):
    """A stream of the pieces of an answer: iterate over it with `for` or `async for`, then read `answer`.

    Iterating starts the generation. Leaving a `with` or `async with` block, calling `close`, or dropping the stream
    stops it.

    Args:
        submit: Submits the request; called once, with the callback for pieces of text.
        timeout: Seconds without a new piece after which the answer is abandoned; `None` for no limit.

    Raises:
        GenerationError: While iterating, if no piece arrives in time.
        RCCError: While iterating, as in `RCCReader.ask`.
    """

    def __init__(self, submit: Callable[[Callable[[str], None]], Ticket], timeout: float | None = None) -> None:
        self._submit, self._timeout = submit, timeout
        self._pieces = _Pieces()
        self._ticket: Ticket | None = None
        self._over = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if not self._over:
            ticket = self._begin()
            try:
                piece = self._pieces.queue.get(timeout=self._timeout)
            except queue.Empty as error:
                self.close()
                raise too_late(self._timeout) from error
            if piece is not None:
                return piece
            self._end(ticket)
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if not self._over:
            arrived = self._pieces.event()
            ticket = self._begin()
            while True:
                with contextlib.suppress(queue.Empty):
                    piece = self._pieces.queue.get_nowait()
                    break
                try:
                    await asyncio.wait_for(arrived.wait(), self._timeout)
                except TimeoutError as error:
                    self.close()
                    raise too_late(self._timeout) from error
                arrived.clear()
            if piece is not None:
                return piece
            self._end(ticket)
        raise StopAsyncIteration

    @property
    def answer(self) -> Answer:
        """The whole answer; waits until it is complete.

        After `close` it is what was generated until then, with the finish reason `cancelled`.

        Raises:
            RuntimeError: The stream was closed before it began.
            RCCError: As in `RCCReader.ask`.
        """
        for _ in self:
            pass
        if self._ticket is None:
            raise RuntimeError("The stream was closed before it began, so there is no answer.")
        return self._ticket.answer.result()

    def close(self) -> None:
        """Stop the generation soon; `answer` waits until it has stopped."""
        self._over = True
        if self._ticket is not None:
            self._ticket.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def _begin(self) -> Ticket:
        if self._ticket is None:
            pieces = self._pieces  # not the stream itself, which could not be dropped while its ticket refers to it
            self._ticket = self._submit(pieces.put)
            self._ticket.answer.add_done_callback(lambda _: pieces.put(None))
        return self._ticket

    def _end(self, ticket: Ticket) -> None:
        self._over = True
        if (error := ticket.answer.exception()) is not None:
            raise error


class _Pieces:
    """Pieces on their way from the generating thread to a thread or an event loop; `None` stands behind the last."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._notify: Callable[[], object] | None = None

    def put(self, piece: str | None) -> None:
        self.queue.put(piece)
        if (notify := self._notify) is not None:
            with contextlib.suppress(RuntimeError):  # an event loop that is closed waits for nothing
                notify()

    def event(self) -> asyncio.Event:
        """Return what is set, in the running event loop, after every piece that is put from now on."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        self._notify = lambda: loop.call_soon_threadsafe(arrived.set)
        return arrived
