"""`Job`: one upload on its way into a collection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from rcc_integrations.document import Document
from rcc_integrations.reader.sources import Readable

#: What becomes of a file.
State = Literal["waiting", "reading", "compressing", "stored", "added", "replaced", "unchanged", "skipped", "cancelled"]
#: What becomes of a job.
JobState = Literal["waiting", "running", "done", "failed", "cancelled"]


class Job:
    """Documents that are to be added to a collection, and how far that has come.

    Args:
        id: Random.
        collection: Name of the collection.
        sources: The documents; let go when the job has ended.
        options: Further arguments of `RCCReader.add`.
        held: Bytes that the sources hold in memory.
        done: Called when the job has ended.
    """

    def __init__(
        self,
        id: str,
        collection: str,
        sources: list[Document | Readable],
        options: dict[str, Any],
        held: int,
        done: Callable[[Job], None] | None,
    ) -> None:
        self.id, self.collection, self.sources, self.options = id, collection, sources, options
        self.held, self.done = held, done
        self.state: JobState = "waiting"
        self.error: str | None = None
        self.created = time.time()
        self.seconds = 0.0
        self.cancelled = threading.Event()
        self.version = 0
        self._started = 0.0
        self._tokens = self._settled = 0
        self._lock = threading.Lock()
        self.files: dict[str, tuple[State, str]] = {source.id: ("waiting", "") for source in sources}

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def tokens(self) -> int:
        """Tokens that were compressed so far."""
        return self._settled + self._tokens

    def start(self) -> None:
        """Work on it begins."""
        self._started = time.monotonic()
        self.state = "running"
        self.version += 1

    def note(self, file: str, state: State, reason: str = "") -> None:
        """Say what becomes of a file.

        Args:
            file: Its document id.
            state: What becomes of it.
            reason: Why it is skipped.
        """
        with self._lock:
            self.files[file] = (state, reason)
            self.version += 1

    def count(self, tokens: int) -> None:
        """Say how many tokens of the files at work were compressed."""
        self._tokens = tokens
        self.seconds = time.monotonic() - self._started
        self.version += 1

    def settle(self, tokens: int) -> None:
        """Say how many tokens the files at work came to, which are done now."""
        self._settled, self._tokens = self._settled + tokens, 0
        self.seconds = time.monotonic() - self._started
        self.version += 1

    def end(self, state: JobState, error: str | None = None) -> None:
        """Work on it is over.

        Args:
            state: How it ended.
            error: Why it failed.
        """
        with self._lock:
            for file, (each, _) in self.files.items():
                if each == "stored":
                    self.files[file] = ("added", "")
                elif each in ("waiting", "reading", "compressing"):
                    self.files[file] = ("skipped", error) if error else ("cancelled", "")
        self.seconds = time.monotonic() - self._started if self._started else 0.0
        self.error = error
        self.state = state
        self.version += 1

    def release(self) -> None:
        """Let go of the documents."""
        self.sources = []

    def to_dict(self) -> dict[str, Any]:
        """Return the job as plain dicts, lists and numbers."""
        with self._lock:
            files = [
                {"id": id, "state": state, **({"reason": reason} if reason else {})}
                for id, (state, reason) in self.files.items()
            ]
        return {
            "id": self.id, "collection": self.collection, "state": self.state, "error": self.error,
            "created": self.created, "seconds": round(self.seconds, 3), "tokens": self.tokens, "files": files,
        }  # fmt: skip
