"""`GenerationStream`: an answer while it is being written."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

ResultT = TypeVar("ResultT", covariant=True)


class _Run(Protocol[ResultT]):
    def __call__(self, *, emit: Callable[[int, str], None], cancel: threading.Event) -> ResultT: ...


class GenerationStream(Iterator[str], Generic[ResultT]):
    """Pieces of an answer, generated in a thread of its own.

    Iterating starts the work. An error in the thread is raised in the iterating one. `close` (or leaving a `with`
    block, or dropping the stream) stops the work.

    Args:
        run: Called with `emit` and `cancel`; returns the whole generation.
    """

    def __init__(self, run: _Run[ResultT]) -> None:
        self._run = run
        self._pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._cancel = threading.Event()
        self._thread: threading.Thread | None = None
        self._result: ResultT | None = None
        self._error: BaseException | None = None
        self._over = False

    def __iter__(self) -> GenerationStream[ResultT]:
        return self

    def __next__(self) -> str:
        if self._over:
            raise StopIteration
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="rcc-generation", daemon=True)
            self._thread.start()
        piece = self._pieces.get()
        if piece is not None:
            return piece
        self._over = True
        self._thread.join()
        if self._error is not None:
            raise self._error
        raise StopIteration

    def _work(self) -> None:
        try:
            self._result = self._run(emit=lambda _, piece: self._pieces.put(piece), cancel=self._cancel)
        except BaseException as error:
            self._error = error
        finally:
            self._pieces.put(None)

    @property
    def result(self) -> ResultT | None:
        """The whole generation, once the stream is at its end."""
        return self._result

    def close(self) -> None:
        """Stop generating and wait until it has stopped."""
        self._cancel.set()
        if self._thread is not None:
            self._thread.join()
        self._over = True

    def __enter__(self) -> GenerationStream[ResultT]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._cancel.set()
