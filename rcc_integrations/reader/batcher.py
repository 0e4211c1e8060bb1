"""`Batcher`: answers the requests of many callers in batches."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rcc_integrations.errors import RCCError
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.answering import AnswerEngine
from rcc_integrations.reader.prepared import Prepared, groups
from rcc_integrations.reader.request import Request
from rcc_integrations.reader.ticket import Ticket

#: Seconds that the first of several callers waits for the others.
_GATHER = 0.01
#: Requests of one batch; those of one `generate` stay together however many they are.
_MOST = 8
#: Seconds after which the thread ends when nothing is asked.
_IDLE = 5.0


@dataclass(frozen=True)
class _Job:
    """Tickets that stay together, and whether they may wait for others."""

    tickets: list[Ticket]
    patient: bool


class Batcher:
    """Generates the requests of several threads or tasks in batches, in a thread of its own.

    Args:
        engine: Prepares and generates.
    """

    def __init__(self, engine: AnswerEngine) -> None:
        self._engine = engine
        self._closed = False
        self._lock = ForkSafeLock(reset=self._begin_anew)
        self._begin_anew()

    def _begin_anew(self) -> None:
        # In the child of a fork, the thread and those who wait for it are in the parent.
        self._waiting: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, request: Request | Prepared, emit: Callable[[str], None] | None = None) -> Ticket:
        """Submit a request; its ticket's `answer` is a future.

        Args:
            request: The request, or its prepared form.
            emit: Callback for pieces of the answer, invoked in another thread.

        Raises:
            RCCError: The reader is closed.
        """
        ticket = Ticket(request, emit)
        self._put(_Job([ticket], patient=True))
        return ticket

    def generate(self, prepared: Sequence[Prepared]) -> list[Answer]:
        """Generate prepared requests together, and wait for their answers.

        They do not wait for other requests, but share a batch with those that are already waiting.

        Args:
            prepared: The requests.

        Raises:
            RCCError: The reader is closed, or as in `RCCReader.ask`.
        """
        tickets = [Ticket(each) for each in prepared]
        if threading.current_thread() is self._thread:
            self._answer(tickets)  # asked by a callback of another answer, which waits for this one
        elif tickets:
            self._put(_Job(tickets, patient=False))
        try:
            return [ticket.answer.result() for ticket in tickets]
        except BaseException:
            for ticket in tickets:
                ticket.cancel()
            raise

    def close(self) -> None:
        """Accept no more requests, and wait until the pending ones are finished."""
        with self._lock:
            self._closed = True
            thread, self._thread = self._thread, None
            self._waiting.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise RCCError("The reader is closed: open it again to ask.")
            self._waiting.put(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="rcc-batcher", daemon=True)
                self._thread.start()

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
        tickets, until = list(first.tickets), time.monotonic() + (_GATHER if first.patient else 0)
        while len(tickets) < _MOST:
            try:
                more = self._waiting.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if more is None:
                self._waiting.put(None)
                break
            tickets += more.tickets
        return tickets

    def _answer(self, tickets: Sequence[Ticket]) -> None:
        ready: list[tuple[Ticket, Prepared]] = []
        for ticket in tickets:
            try:
                request = ticket.request
                ready.append((ticket, request if isinstance(request, Prepared) else self._engine.prepare(request)))
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
            answers = self._engine.generate(
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
