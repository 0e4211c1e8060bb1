"""`Jobs`: documents that are being added, one job after the other, in a thread that makes way for questions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from rcc_integrations.document import Document
from rcc_integrations.errors import RCCError
from rcc_integrations.reader.progress import Progress
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.sources import Readable
from rcc_integrations.server.engine import Engine
from rcc_integrations.server.failures import RequestError, body_of
from rcc_integrations.server.job import Job, State

_log = logging.getLogger(__name__)

#: Files that are handed to the reader at once: what of them is done is told together.
_TOGETHER = 16
#: Between two batches, adding waits so many seconds at most while somebody asks.
_MAKE_WAY = 2.0
#: Tokens of a batch while somebody asks; a question waits for the batch at work.
_SMALL_BATCH = 256
#: Jobs that are remembered once they are done.
_KEPT = 200


class _Cancelled(Exception):
    """The job was cancelled."""


class Jobs:
    """Adds documents for clients.

    Args:
        reader: The reader.
        engine: Asked whether somebody asks.
        max_held_bytes: The most bytes of uploads that wait.
    """

    def __init__(self, reader: RCCReader, engine: Engine, max_held_bytes: int) -> None:
        self._reader, self._engine, self._max_held = reader, engine, max_held_bytes
        self._jobs: dict[str, Job] = {}
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._held = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="rcc-adding", daemon=True)
        self._thread.start()

    def submit(
        self,
        collection: str,
        sources: Sequence[Document | Readable],
        *,
        skipped: Sequence[tuple[str, str]] = (),
        options: dict[str, Any] | None = None,
        held: int = 0,
        done: Callable[[Job], None] | None = None,
    ) -> Job:
        """Hand in documents to be added.

        Args:
            collection: Name of the collection; made if there is none.
            sources: What to add.
            skipped: Pairs of name and reason of what was refused before.
            options: Further arguments of `RCCReader.add`.
            held: Bytes that the sources hold in memory.
            done: Called when the job is done, whatever became of it.

        Raises:
            RequestError: Too much is waiting, or the server is closing.
        """
        job = Job(f"job_{secrets.token_hex(12)}", collection, list(sources), options or {}, held, done)
        for name, reason in skipped:
            job.note(name, "skipped", reason)
        with self._lock:
            if self._closed.is_set():
                raise RequestError(503, "The server is closing.", code="closing")
            if self._held + held > self._max_held:
                raise RequestError(
                    429,
                    f"Uploads of {self._held / 2**20:.0f} MiB are waiting to be read; {self._max_held / 2**20:.0f} MiB "
                    "may: try again when some are done.",
                    code="uploads_waiting",
                    retry_after=10,
                )
            self._held += held
            self._jobs[job.id] = job
            for old in [each for each in self._jobs.values() if each.ended][:-_KEPT]:
                del self._jobs[old.id]
        self._waiting.put(job)
        return job

    def get(self, id: str) -> Job:
        """Return a job.

        Raises:
            RequestError: There is none of this id, or it was forgotten.
        """
        job = self._jobs.get(id)
        if job is None:
            raise RequestError(404, f"There is no job {id!r}.", param="job", code="job_not_found")
        return job

    def all(self) -> list[Job]:
        """Return the jobs that are remembered, the newest last."""
        return list(self._jobs.values())

    def busy(self, collection: str) -> bool:
        """Whether documents of a collection are being added, or wait."""
        return any(job.collection == collection and not job.ended for job in self._jobs.values())

    def cancel(self, id: str) -> Job:
        """Stop a job soon; documents that are done stay."""
        job = self.get(id)
        job.cancelled.set()
        return job

    async def follow(self, id: str, every: float = 0.15) -> AsyncGenerator[dict[str, Any]]:
        """Yield a job as it comes along, to its end.

        Args:
            id: The job.
            every: Seconds between two looks at it.
        """
        job, seen = self.get(id), -1
        while True:
            version, ended = job.version, job.ended
            if version != seen:
                seen = version
                yield job.to_dict()
            if ended:
                return
            await asyncio.sleep(every)

    def close(self) -> None:
        """Stop the job at work between two batches, and forget those that wait."""
        with self._lock:
            self._closed.set()
            for job in self._jobs.values():
                job.cancelled.set()
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._waiting.get()) is not None:
            try:
                self._run(job)
            except Exception:
                _log.exception("A job failed.")
            finally:
                with self._lock:
                    self._held -= job.held
                job.release()
                if job.done is not None:
                    with contextlib.suppress(Exception):
                        job.done(job)

    def _run(self, job: Job) -> None:
        job.start()
        try:
            for first in range(0, len(job.sources), _TOGETHER):
                self._add(job, job.sources[first : first + _TOGETHER])
            job.end("cancelled" if job.cancelled.is_set() else "done")
        except _Cancelled:
            job.end("cancelled")
        except Exception as error:
            if not isinstance(error, RCCError):
                _log.exception("Adding to %r failed.", job.collection)
            job.end("failed", body_of(error)["error"]["message"])

    def _add(self, job: Job, sources: Sequence[Document | Readable]) -> None:
        done = 0

        def tell(progress: Progress) -> None:
            nonlocal done
            if progress.documents > done:
                done = progress.documents
                job.note(progress.document, "stored")
            else:
                job.note(progress.document, "compressing")
            job.count(progress.tokens)
            self._make_way(job)

        self._make_way(job)
        for source in sources:
            job.note(source.id, "reading")
        report = self._reader.add(
            job.collection, sources, skip_unreadable=True, on_progress=tell, **job.options
        )  # fmt: skip
        states: tuple[tuple[State, list[str]], ...] = (
            ("added", report.added), ("replaced", report.replaced), ("unchanged", report.unchanged),
        )  # fmt: skip
        for state, ids in states:
            for id in ids:
                job.note(id, state)
        for id, reason in report.skipped:
            job.note(id, "skipped", reason)
        job.settle(report.tokens_compressed)

    def _make_way(self, job: Job) -> None:
        """Between two batches: stop if asked to, and let questions go first."""
        self._engine.wait_until_quiet(_MAKE_WAY)
        if job.cancelled.is_set():
            raise _Cancelled
        model = self._reader.model
        if model.device.type == "cpu":
            model.batch_tokens = _SMALL_BATCH if self._engine.asked_lately else None
