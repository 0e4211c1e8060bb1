"""`FileStore`: uploaded files that are in no vector store yet, and the documents that are, as files."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rcc_integrations.memory.records import CollectionRecord, DocumentRecord
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.openai.shapes import file_id


@dataclass(frozen=True)
class Upload:
    """A file that was uploaded and is in no vector store yet.

    Args:
        id: Its id.
        name: Its name.
        data: Its bytes.
        purpose: What the client says it is for.
        created: Seconds since 1970.
    """

    id: str
    name: str
    data: bytes
    purpose: str
    created: float


@dataclass(frozen=True)
class StoredFile:
    """A document of a collection, as a file.

    Args:
        id: Its id as a file.
        collection: The collection.
        document: The document.
    """

    id: str
    collection: CollectionRecord
    document: DocumentRecord


class FileStore:
    """Uploads wait in memory, bounded, until they are put into a vector store, or the server ends.

    Args:
        reader: The reader.
        most: The most bytes of uploads.
    """

    def __init__(self, reader: RCCReader, most: int) -> None:
        self._reader, self._most = reader, most
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def upload(self, name: str, data: bytes, purpose: str) -> Upload:
        """Keep a file.

        Raises:
            RequestError: There is no room.
        """
        upload = Upload(f"file-{secrets.token_hex(12)}", name, data, purpose, time.time())
        with self._lock:
            held = sum(len(each.data) for each in self._uploads.values())
            if held + len(data) > self._most:
                raise RequestError(
                    413,
                    f"Uploaded files that are in no vector store hold {held / 2**20:.0f} MiB; together they may hold "
                    f"{self._most / 2**20:.0f} MiB: put them into one, or delete some.",
                    param="file",
                    code="no_room",
                )
            self._uploads[upload.id] = upload
        return upload

    def find(self, id: str) -> Upload | StoredFile:
        """Return a file.

        Raises:
            RequestError: There is none of this id.
        """
        if upload := self._uploads.get(id):
            return upload
        for stored in self.stored():
            if stored.id == id:
                return stored
        raise RequestError(404, f"No such File object: {id}", param="file_id", code="file_not_found")

    def read(self, id: str) -> tuple[str, bytes]:
        """Return a file's name and bytes; of a document, its text.

        Raises:
            RequestError: There is none of this id.
        """
        file = self.find(id)
        if isinstance(file, Upload):
            return file.name, file.data
        return f"{file.document.id}.txt", self._reader.store.text(file.document.text_key).encode()

    def stored(self) -> Iterator[StoredFile]:
        """Yield the documents of all collections."""
        for collection in self._reader.collections():
            yield from self.stored_in(collection)

    def stored_in(self, collection: CollectionRecord) -> Iterator[StoredFile]:
        """Yield the documents of a collection."""
        for document in self._reader.documents(collection.name):
            yield StoredFile(file_id(collection.uid, document.id, document.metadata), collection, document)

    def uploads(self) -> list[Upload]:
        """Return the uploads."""
        return list(self._uploads.values())

    def forget(self, id: str) -> None:
        """Let go of an upload; nothing happens if there is none of this id."""
        with self._lock:
            self._uploads.pop(id, None)
