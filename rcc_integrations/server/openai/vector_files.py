"""`VectorFiles`: files in vector stores, and those on their way there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rcc_integrations.errors import UnknownCollectionError
from rcc_integrations.memory.records import CollectionRecord
from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.job import Job
from rcc_integrations.server.openai.attached import AttachedFile
from rcc_integrations.server.openai.file_store import FileStore, StoredFile, Upload
from rcc_integrations.server.service import Service
from rcc_integrations.server.uploads import as_source

_CHUNKING = {"type": "other"}
#: Batches that are remembered once they are done.
_KEPT = 200
_STATES = {"waiting": "in_progress", "reading": "in_progress", "compressing": "in_progress", "stored": "in_progress",
           "added": "completed", "replaced": "completed", "unchanged": "completed", "skipped": "failed",
           "cancelled": "cancelled"}  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """Files that were put into a vector store together.

    Args:
        id: Its id.
        store: Uid of the collection.
        job: The job that adds them.
        documents: Ids of the documents by id of the file.
        created: Seconds since 1970.
    """

    id: str
    store: str
    job: Job
    documents: dict[str, str]
    created: int


class VectorFiles:
    """Knows which file is in which collection, and how far those are that are being added.

    Args:
        service: What adds.
        files: Uploaded files.
    """

    def __init__(self, service: Service, files: FileStore) -> None:
        self._service, self._files = service, files
        self._batches: dict[str, Batch] = {}

    def collection(self, id: str) -> CollectionRecord:
        """Return the collection of a vector store's id, `vs_` and its uid; its name will do, too.

        Raises:
            RequestError: There is none.
        """
        for record in self._service.reader.collections():
            if id in (f"vs_{record.uid}", record.name):
                return record
        raise RequestError(
            404, f"No vector store found with id '{id}'.", param="vector_store_id", code="vector_store_not_found"
        )

    def attach(self, collection: CollectionRecord, wanted: Sequence[tuple[str, dict[str, Any]]]) -> Batch:
        """Put files into a collection.

        Args:
            collection: The collection.
            wanted: Pairs of a file's id and its attributes.

        Raises:
            RequestError: There is no such file, or too much is waiting.
        """
        taken = {stored.document.id: stored.id for stored in self._files.stored_in(collection)}
        sources, documents, held = [], {}, 0
        for id, attributes in wanted:
            file = self._files.find(id)
            name, data = self._files.read(id)
            document = _free(name, id, taken)
            taken[document] = documents[id] = document
            source, reason = as_source(name, data, self._service.settings)
            if source is None:
                raise RequestError(400, f"{name!r} cannot be read: {reason}.", param="file_id", code="unreadable_file")
            held += len(data) if isinstance(file, StoredFile) else 0  # uploads are counted already
            sources.append(AttachedFile(document, source, id, attributes))
        uploads = [id for id, _ in wanted if isinstance(self._files.find(id), Upload)]

        def done(job: Job) -> None:
            for id in uploads:
                if job.files.get(documents[id], ("", ""))[0] in ("added", "replaced", "unchanged"):
                    self._files.forget(id)

        job = self._service.jobs.submit(collection.name, sources, held=held, done=done)
        batch = Batch(f"vsfb_{secrets.token_hex(12)}", collection.uid, job, documents, int(time.time()))
        self._batches[batch.id] = batch
        for old in [each for each in self._batches.values() if each.job.ended][:-_KEPT]:
            del self._batches[old.id]
        return batch

    def batch(self, id: str) -> Batch:
        """Return a batch.

        Raises:
            RequestError: There is none of this id.
        """
        if id not in self._batches:
            raise RequestError(404, f"No file batch found with id '{id}'.", param="batch_id", code="batch_not_found")
        return self._batches[id]

    def shapes(self, collection: CollectionRecord) -> list[dict[str, Any]]:
        """Return the files of a collection, those on their way among them, as vector store files."""
        found = {}
        for batch in self._batches.values():
            if batch.store == collection.uid:
                for id, document in batch.documents.items():
                    found[id] = self._coming(collection, batch, id, document)
        for stored in self._files.stored_in(collection):
            found[stored.id] = self._there(collection, stored)
        return list(found.values())

    def shape(self, collection: CollectionRecord, id: str) -> dict[str, Any]:
        """Return one of them.

        Raises:
            RequestError: There is none of this id.
        """
        for each in self.shapes(collection):
            if each["id"] == id:
                return each
        raise RequestError(404, f"No file found with id '{id}' in this vector store.", param="file_id",
                           code="file_not_found")  # fmt: skip

    def batch_shape(self, batch: Batch) -> dict[str, Any]:
        """Return a batch as OpenAI has it."""
        counts = self.counts([_STATES[batch.job.files[document][0]] for document in batch.documents.values()])
        state = "in_progress"
        if batch.job.ended:
            state = {"done": "completed", "failed": "failed", "cancelled": "cancelled"}[batch.job.state]
        return {"id": batch.id, "object": "vector_store.files_batch", "created_at": batch.created,
                "vector_store_id": f"vs_{batch.store}", "status": state, "file_counts": counts}  # fmt: skip

    def store_shape(self, collection: CollectionRecord) -> dict[str, Any]:
        """Return a collection as a vector store."""
        counts = self.counts([each["status"] for each in self.shapes(collection)])
        expiry = collection.expiry
        days = None if expiry is None else max(1, round(expiry.ttl / 86400))
        return {
            "id": f"vs_{collection.uid}", "object": "vector_store", "name": collection.name,
            "created_at": int(collection.created), "description": None, "metadata": {},
            "usage_bytes": self._bytes(collection), "file_counts": counts,
            "status": "in_progress" if counts["in_progress"] else "completed",
            "expires_after": {"anchor": "last_active_at", "days": days} if days else None,
            "expires_at": int(expiry.at) if expiry else None, "last_active_at": int(time.time()),
        }  # fmt: skip

    @staticmethod
    def counts(states: Sequence[str]) -> dict[str, int]:
        """Return how many files are in which state."""
        names = ("in_progress", "completed", "failed", "cancelled")
        return {name: states.count(name) for name in names} | {"total": len(states)}

    def _bytes(self, collection: CollectionRecord) -> int:
        try:
            return self._service.reader.store.collection_bytes(collection.name)
        except UnknownCollectionError:
            return 0

    def _coming(self, collection: CollectionRecord, batch: Batch, id: str, document: str) -> dict[str, Any]:
        state, reason = batch.job.files[document]
        status = (
            _STATES[state] if batch.job.ended else ("in_progress" if _STATES[state] == "completed" else _STATES[state])
        )
        error = {"code": "invalid_file", "message": reason} if status == "failed" else None
        return self._file(collection, id, document, batch.created, 0, status, error, {})

    def _there(self, collection: CollectionRecord, stored: StoredFile) -> dict[str, Any]:
        document = stored.document
        attributes = document.metadata.get("attributes")
        return self._file(collection, stored.id, document.id, int(document.added), document.characters, "completed",
                          None, attributes if isinstance(attributes, dict) else {})  # fmt: skip

    def _file(
        self, collection: CollectionRecord, id: str, document: str, created: int, size: int, status: str,
        error: dict[str, str] | None, attributes: dict[str, Any],
    ) -> dict[str, Any]:  # fmt: skip
        return {
            "id": id, "object": "vector_store.file", "created_at": created, "usage_bytes": size,
            "vector_store_id": f"vs_{collection.uid}", "status": status, "last_error": error,
            "chunking_strategy": _CHUNKING, "attributes": attributes, "rcc": {"document": document},
        }  # fmt: skip


def _free(name: str, file: str, taken: dict[str, str]) -> str:
    """Return the name of a file's document; two files of one name become two documents."""
    document, number = name, 1
    while document in taken and taken[document] != file:
        number += 1
        stem, dot, suffix = name.rpartition(".")
        document = f"{stem} ({number}).{suffix}" if dot else f"{name} ({number})"
    return document
