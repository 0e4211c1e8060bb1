"""`Watch`: a folder whose files are kept in a collection."""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rcc_integrations.errors import ConfigError, MissingExtraError, RCCError, UnknownCollectionError
from rcc_integrations.files.finder import find_files
from rcc_integrations.files.names import printable

if TYPE_CHECKING:
    from rcc_integrations.server.service import Service

_log = logging.getLogger(__name__)

#: A file is read when it has not changed for so many seconds.
_SETTLED = 1.0
#: The folder is looked through again after so many seconds, even if nothing was reported.
_LOOK_AGAIN = 300.0


@dataclass(frozen=True)
class _Seen:
    size: int
    changed: int


class Watch:
    """Keeps a collection as a folder is: changed files are added again, those that are gone removed.

    Args:
        folder: The folder.
        collection: The collection; made with the first file.

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, folder: str | Path, collection: str) -> None:
        self.folder, self.collection = Path(folder), collection
        if not self.folder.is_dir():
            raise ConfigError(f"There is no folder {str(folder)!r} to watch.")
        self._stop = threading.Event()
        self._seen: dict[str, _Seen] = {}
        self._thread: threading.Thread | None = None

    @classmethod
    def parse(cls, text: str) -> Watch:
        """Read `FOLDER=COLLECTION`; the folder's name is the collection's if there is no `=`.

        Raises:
            ConfigError: There is no such folder.
        """
        folder, sign, collection = text.rpartition("=")
        folder = folder if sign else collection
        return cls(folder, collection if sign else Path(os.path.abspath(folder)).name)

    def start(self, service: Service) -> None:
        """Begin to watch, in a thread.

        Args:
            service: What adds.

        Raises:
            MissingExtraError: watchfiles is not installed.
        """
        try:
            import watchfiles  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("watchfiles", "server", "Watching a folder") from error
        self._thread = threading.Thread(target=self._run, args=(service,), name="rcc-watching", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, service: Service) -> None:
        from watchfiles import watch

        self._safely(service)
        changes = watch(
            self.folder, stop_event=self._stop, rust_timeout=500, yield_on_timeout=True, debounce=400,
            raise_interrupt=False, ignore_permission_denied=True,
        )  # fmt: skip
        looked, unsettled = time.monotonic(), True
        try:
            for found in changes:
                if found or unsettled or time.monotonic() - looked > _LOOK_AGAIN:
                    looked, unsettled = time.monotonic(), self._safely(service)
        except OSError:
            _log.exception("%s cannot be watched any more.", self.folder)

    def _safely(self, service: Service) -> bool:
        try:
            return self.reconcile(service)
        except Exception as error:
            if not isinstance(error, RCCError):
                _log.exception("Looking through %s failed.", self.folder)
            else:
                _log.warning("Looking through %s failed: %s", self.folder, error)
            return True

    def reconcile(self, service: Service) -> bool:
        """Bring the collection to what the folder holds now.

        Args:
            service: What adds.

        Returns:
            Whether something is still being written, or added, so that another look is due.
        """
        if not self.folder.is_dir():
            _log.warning("%s is gone: its documents are kept until it is back.", self.folder)
            return True
        files, skipped = find_files(self.folder)
        now = {file.id: (file, _seen(file.path)) for file in files}
        settled = {id: each for id, each in now.items() if each[1] is not None and _is_settled(each[1])}
        changed = [file for id, (file, seen) in settled.items() if self._seen.get(id) != seen]
        if changed:
            job = service.jobs.submit(self.collection, changed)
            while not job.ended and not self._stop.is_set():
                time.sleep(0.05)
            for file in changed:
                state = job.files[file.id][0]
                # What cannot be read is tried again when it changes.
                if state in ("added", "replaced", "unchanged", "skipped") and job.state != "failed":
                    self._seen[file.id] = settled[file.id][1]  # type: ignore[assignment]
        if not any(not each.routine for each in skipped):
            self._remove(service, set(now))
        else:
            unread = [each.path.rstrip("/") for each in skipped if not each.routine]
            self._remove(service, set(now), unread)
        return len(settled) < len(now)

    def _remove(self, service: Service, there: set[str], unread: list[str] | None = None) -> None:
        """Remove documents whose files are gone; those that were added otherwise stay."""
        root = printable(self.folder.as_posix()).rstrip("/")
        try:
            documents = service.reader.documents(self.collection)
        except UnknownCollectionError:
            return
        gone = []
        for document in documents:
            source = str(document.metadata.get("source", ""))
            if document.id in there or source != f"{root}/{document.id}":
                continue
            if not any(source == path or source.startswith(f"{path}/") for path in unread or ()):
                gone.append(document.id)
        if gone:
            service.reader.delete(self.collection, gone)
            for id in gone:
                self._seen.pop(id, None)


def _seen(path: Path) -> _Seen | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return _Seen(status.st_size, status.st_mtime_ns)


def _is_settled(seen: _Seen) -> bool:
    return abs(time.time() - seen.changed / 1e9) >= _SETTLED
