"""`SerialWorker`: a thread that does one thing after the other, and keeps no process from ending."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from functools import partial
from typing import Any, TypeVar

from rcc_integrations.errors import RCCError
from rcc_integrations.forking import ForkSafeLock

T = TypeVar("T")

#: Set when nobody waits any more for the work that is done in this context.
_given_up: ContextVar[threading.Event | None] = ContextVar("given_up", default=None)


class CancelledWorkError(RCCError):
    """Work ended because the task that waited for it was cancelled."""


def check_wanted(*_: Any) -> None:
    """End work that nobody waits for any more.

    Raises:
        CancelledWorkError: If so.
    """
    event = _given_up.get()
    if event is not None and event.is_set():
        raise CancelledWorkError("The task that waited for this was cancelled; what was done until then stays.")


class SerialWorker:
    """Does work in the order in which it is handed in."""

    def __init__(self) -> None:
        self._lock = ForkSafeLock(reset=self._begin_anew)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[..., T], *given: Any, **options: Any) -> T:
        """Do something, and wait for it without blocking the event loop; cancelled, it stops soon.

        Args:
            work: What is called.
            *given: Its arguments.
            **options: Its arguments by name.
        """
        given_up = threading.Event()
        # Spans of the work belong below the caller's, so its context goes along.
        context = contextvars.copy_context()
        context.run(_given_up.set, given_up)
        future: Future[T] = Future()
        with self._lock:
            self._work.put((future, partial(context.run, work, *given, **options)))
            if self._thread is None:
                # A daemon: what is half done when the process ends is found and made whole by the next.
                self._thread = threading.Thread(target=self._run, args=(self._work,), name="rcc-index", daemon=True)
                self._thread.start()
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            given_up.set()
            raise

    def close(self) -> None:
        """Finish what was handed in."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._work.put(None)
            self._work = queue.SimpleQueue()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    @staticmethod
    def _run(work: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]) -> None:
        while (job := work.get()) is not None:
            future, call = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
