"""Waiting for answers: in a thread or a task, whole or piece by piece, with a timeout."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncGenerator, Generator

from rcc_integrations.errors import GenerationError
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.request import Request


class LateError(GenerationError):
    """There was no answer in time."""


def answer(reader: RCCReader, request: Request, timeout: float | None = None) -> Answer:
    """Wait for an answer.

    Args:
        reader: The reader that answers.
        request: What is asked.
        timeout: Seconds after which the answer is given up.

    Raises:
        GenerationError: If there was none in time.
        RCCError: As in `RCCReader.ask`.
    """
    ticket = reader.submit(request)
    try:
        return ticket.answer.result(timeout)
    except TimeoutError as error:
        ticket.cancel()
        raise _late(timeout) from error
    except BaseException:
        ticket.cancel()
        raise


async def aanswer(reader: RCCReader, request: Request, timeout: float | None = None) -> Answer:
    """Wait for an answer without blocking the event loop; see `answer`."""
    ticket = reader.submit(request)
    try:
        return await asyncio.wait_for(asyncio.wrap_future(ticket.answer), timeout)
    except TimeoutError as error:
        ticket.cancel()
        raise _late(timeout) from error
    except BaseException:
        ticket.cancel()
        raise


def pieces(
    reader: RCCReader, request: Request, timeout: float | None = None, *, held: bool = False
) -> Generator[str | Answer]:
    """Yield an answer's text as it becomes certain, then the answer; closing the iterator stops the work.

    Args:
        reader: The reader that answers.
        request: What is asked.
        timeout: Seconds without a new piece after which the answer is given up.
        held: Yield nothing but the answer at the end.

    Raises:
        GenerationError: If nothing came in time.
        RCCError: As in `RCCReader.ask`.
    """
    found: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    ticket = reader.submit(request, None if held else found.put)
    ticket.answer.add_done_callback(lambda _: found.put(None))
    try:
        while (piece := found.get(timeout=timeout)) is not None:
            yield piece
        yield ticket.answer.result()
    except queue.Empty as error:
        raise _late(timeout) from error
    finally:
        ticket.cancel()


async def apieces(
    reader: RCCReader, request: Request, timeout: float | None = None, *, held: bool = False
) -> AsyncGenerator[str | Answer]:
    """Yield an answer's text as it becomes certain without blocking the event loop; see `pieces`."""
    loop = asyncio.get_running_loop()
    found: asyncio.Queue[str | None] = asyncio.Queue()

    def put(piece: str | None) -> None:
        loop.call_soon_threadsafe(found.put_nowait, piece)

    ticket = reader.submit(request, None if held else put)
    ticket.answer.add_done_callback(lambda _: put(None))
    try:
        while (piece := await asyncio.wait_for(found.get(), timeout)) is not None:
            yield piece
        yield ticket.answer.result()
    except TimeoutError as error:
        raise _late(timeout) from error
    finally:
        ticket.cancel()


def _late(timeout: float | None) -> LateError:
    return LateError(f"There was no answer within the timeout of {timeout} seconds.")
