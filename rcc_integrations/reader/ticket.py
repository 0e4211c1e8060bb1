"""`Ticket`: a request that was handed in, and its answer to come."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future

from rcc_integrations.errors import GenerationError
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.prepared import Prepared
from rcc_integrations.reader.request import Request


class Ticket:
    """A request that was handed in.

    Attributes:
        answer: The answer to come, or its error.
        cancelled: Set to stop the work.

    Args:
        request: The request, or its prepared form.
        emit: Called with pieces of the answer as they become certain, in the generating thread.
    """

    def __init__(self, request: Request | Prepared, emit: Callable[[str], None] | None = None) -> None:
        self.request = request
        self.emit = emit
        self.cancelled = threading.Event()
        self.answer: Future[Answer] = Future()
        # From now on it can be cancelled by `cancel` alone, whoever else waits for it.
        self.answer.set_running_or_notify_cancel()

    def cancel(self) -> None:
        """Stop the work soon; the answer is what was written until then."""
        self.cancelled.set()

    def result(self, timeout: float | None = None) -> Answer:
        """Wait for the answer; the work stops if waiting is interrupted.

        Args:
            timeout: Seconds after which the answer is given up; `None` for no limit.

        Raises:
            GenerationError: If there was no answer in time.
            RCCError: As in `RCCReader.ask`.
        """
        try:
            return self.answer.result(timeout)
        except TimeoutError as error:
            self.cancel()
            raise too_late(timeout) from error
        except BaseException:
            self.cancel()
            raise

    async def aresult(self, timeout: float | None = None) -> Answer:
        """Wait for the answer without blocking the event loop; see `result`."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(self.answer), timeout)
        except TimeoutError as error:
            self.cancel()
            raise too_late(timeout) from error
        except BaseException:
            self.cancel()
            raise


class LateError(GenerationError):
    """There was no answer in time."""


def too_late(timeout: float | None) -> LateError:
    """Return the error of an answer that was not there in time."""
    return LateError(f"There was no answer within the timeout of {timeout} seconds.")
