"""`Batcher`: requests of many callers, generated together."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from rcc_integrations.errors import RCCError
from rcc_integrations.forking import reset_after_fork
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.answering import Asker
from rcc_integrations.reader.prepared import Prepared, groups
from rcc_integrations.reader.request import Request

#: Seconds that the first of several callers waits for the others.
_GATHER = 0.01
#: Requests of one batch.
_MOST = 8
#: Seconds after which the thread ends when nothing is asked.
_IDLE = 5.0


class Ticket:
    """A request that was handed in.

    Args:
        request: The request.
        emit: Called with pieces of the answer as they become certain, in the generating thread.
    """

    def __init__(self, request: Request, emit: Callable[[str], None] | None) -> None:
        self.request = request
        self.emit = emit
        self.cancelled = threading.Event()
        self.answer: Future[Answer] = Future()
        # From now on nobody who waits for it can cancel it but by `cancel`.
        self.answer.set_running_or_notify_cancel()

    def cancel(self) -> None:
        """Stop the work soon; the answer is what was written until then."""
        self.cancelled.set()


class Batcher:
    """Generates the requests of several threads or tasks in batches.

    Args:
        asker: Prepares and generates.
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._waiting: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Begin anew in the child of a fork: the thread, and whoever waits, are in the parent."""
        self._waiting = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread = None

    def submit(self, request: Request, emit: Callable[[str], None] | None = None) -> Ticket:
        """Hand in a request; its ticket's `answer` is a future.

        Args:
            request: The request.
            emit: Called with pieces of the answer, in another thread.

        Raises:
            RCCError: If the reader is closed.
        """
        ticket = Ticket(request, emit)
        with self._lock:
            if self._closed:
                raise RCCError("The reader is closed: open it again to ask.")
            self._waiting.put(ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="rcc-batcher", daemon=True)
                self._thread.start()
        return ticket

    def close(self) -> None:
        """Take no more requests, and wait until those that were taken are done."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            self._waiting.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _work(self) -> None:
        while True:
            tickets = self._gather()
            if tickets is None:
                with self._lock:
                    # What came in since then started no thread, because this one was still there.
                    if self._waiting.empty() or self._closed:
                        if self._thread is threading.current_thread():
                            self._thread = None
                        return
                continue
            self._answer(tickets)

    def _gather(self) -> list[Ticket] | None:
        try:
            first = self._waiting.get(timeout=_IDLE)
        except queue.Empty:
            return None
        if first is None:
            return None
        found, until = [first], time.monotonic() + _GATHER
        while len(found) < _MOST:
            try:
                more = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if more is None:
                self._waiting.put(None)
                break
            found.append(more)
        return found

    def _answer(self, tickets: list[Ticket]) -> None:
        ready: list[tuple[Ticket, Prepared]] = []
        for ticket in tickets:
            try:
                ready.append((ticket, self._asker.prepare(ticket.request)))
            except BaseException as error:
                ticket.answer.set_exception(error)
        for numbers in groups([prepared for _, prepared in ready]):
            self._generate([ready[number] for number in numbers])

    def _generate(self, batch: list[tuple[Ticket, Prepared]]) -> None:
        begun: set[int] = set()

        def emit(row: int, piece: str) -> None:
            ticket = batch[row][0]
            begun.add(row)
            if ticket.emit is not None and not ticket.cancelled.is_set():
                try:
                    ticket.emit(piece)
                except BaseException:
                    # Nobody listens any more; the others go on.
                    ticket.cancel()

        try:
            answers = self._asker.generate(
                [prepared for _, prepared in batch], emit, [ticket.cancelled for ticket, _ in batch]
            )
        except BaseException as error:
            for row, (ticket, prepared) in enumerate(batch):
                # One request must not take others with it; but what was shown cannot be shown again.
                if len(batch) > 1 and row not in begun:
                    self._generate([(ticket, prepared)])
                else:
                    ticket.answer.set_exception(error)
            return
        for (ticket, _), answer in zip(batch, answers, strict=True):
            ticket.answer.set_result(answer)
