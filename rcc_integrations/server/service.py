"""`Service`: what the server can do, as plain values; its interfaces only put this into their own shapes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rcc_integrations._version import __version__
from rcc_integrations.document import Document
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord
from rcc_integrations.reader.compatibility import ratio_of
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.routing.route import Routing
from rcc_integrations.server.engine import Engine
from rcc_integrations.server.job import Job
from rcc_integrations.server.jobs import Jobs
from rcc_integrations.server.settings import ServerSettings

_log = logging.getLogger(__name__)


class Service:
    """A reader with its queue of questions and its queue of documents.

    Args:
        reader: The reader.
        settings: The server's settings.
    """

    def __init__(self, reader: RCCReader, settings: ServerSettings) -> None:
        self.reader, self.settings = reader, settings
        self.engine = Engine(reader, settings.max_waiting)
        self.jobs = Jobs(reader, self.engine, settings.max_held_bytes)
        self.started = time.time()
        self._model: dict[str, Any] | None = None
        self._model_error: str | None = None
        self._closed = threading.Event()

    def warm_up(self) -> None:
        """Load the model in a thread, so that the first question need not; meanwhile everything else works."""
        threading.Thread(target=self._load, name="rcc-loading", daemon=True).start()

    def sweep(self) -> None:
        """Remove expired collections from disk now and then, in a thread."""
        threading.Thread(target=self._sweep, name="rcc-sweeping", daemon=True).start()

    def close(self) -> None:
        """Stop what is under way, and close the reader."""
        self._closed.set()
        self.jobs.close()
        self.reader.close()

    def status(self) -> dict[str, Any]:
        """Return how the server is."""
        return {
            "version": __version__,
            "store": {"id": self.reader.store.id, "read_only": self.reader.store.read_only},
            "model": self._model,
            "model_error": self._model_error,
            "ready": self._model is not None,
            "waiting": self.engine.pending,
            "answered": self.engine.answered,
            "jobs": sum(not job.ended for job in self.jobs.all()),
            "started": self.started,
            "limits": {"file_bytes": self.settings.max_file_bytes, "files": self.settings.max_files,
                       "request_bytes": self.settings.max_body_bytes},
        }  # fmt: skip

    def collections(self) -> list[dict[str, Any]]:
        """Return all collections, by name."""
        return [self._described(record) for record in self.reader.collections()]

    def collection(self, name: str) -> dict[str, Any]:
        """Return one collection with its documents.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        snapshot = self.reader.store.snapshot(name)
        documents = [document_summary(record) for record in snapshot.documents]
        return self._described(snapshot.collection) | {
            "bytes": self.reader.store.collection_bytes(name), "items": documents,
        }  # fmt: skip

    def document(self, name: str, id: str) -> dict[str, Any]:
        """Return a document with its text and where its windows are.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: The collection has no such document.
        """
        record = self.reader.store.document(name, id)
        windows = [[window.start, window.end] for window in record.windows]
        return document_summary(record) | {
            "collection": name, "text": self.reader.store.text(record.text_key), "spans": windows,
        }  # fmt: skip

    def search(
        self,
        name: str,
        query: str,
        k: int = 5,
        documents: Iterable[str] | None = None,
        routing: Routing = "both",
    ) -> dict[str, Any]:
        """Return the windows that match a query best.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        found = self.reader.search(name, query, k, documents=documents, routing=routing)
        return {"collection": name, "query": query, "sources": [asdict(source) for source in found]}

    def add_text(self, name: str, id: str, text: str, ttl: float | None = None) -> Job:
        """Hand in one text to be added.

        Raises:
            RequestError: Too much is waiting.
            RCCError: The text is empty, or a name cannot be used.
        """
        source = Document(id, text)
        options = {} if ttl is None else {"ttl": ttl}
        return self.jobs.submit(name, [source], held=len(text), options=options)

    def _described(self, record: CollectionRecord) -> dict[str, Any]:
        described = {
            "name": record.name, "uid": record.uid, "revision": record.revision, "documents": record.documents,
            "windows": record.windows, "tokens": record.tokens, "slots": record.slots, "storage": record.storage,
            "created": record.created, "ratio": ratio_of(record), "model": record.model.get("base"),
            "expiry": record.expiry.to_json() if record.expiry is not None else None,
        }  # fmt: skip
        seconds = [job.seconds for job in self.jobs.all() if job.collection == record.name and job.tokens]
        return described | {"adding": self.jobs.busy(record.name), "seconds": sum(seconds) if seconds else None}

    def _load(self) -> None:
        try:
            model = self.reader.model
            self._model = {"base": model.config.base, "ratio": model.config.ratio, "device": str(model.device),
                           "positions": model.reach}  # fmt: skip
        except Exception as error:
            _log.exception("The model cannot be loaded.")
            self._model_error = str(error)

    def _sweep(self) -> None:
        while not self._closed.wait(self.settings.sweep_seconds):
            if not self.reader.store.read_only:
                try:
                    self.reader.store.sweep_expired()
                except Exception:
                    _log.exception("Expired collections could not be removed.")


def document_summary(record: DocumentRecord) -> dict[str, Any]:
    """Return what is known of a document, without its text."""
    return {
        "id": record.id, "characters": record.characters, "tokens": record.tokens, "slots": record.slots,
        "windows": len(record.windows), "added": record.added, "metadata": record.metadata,
    }  # fmt: skip
