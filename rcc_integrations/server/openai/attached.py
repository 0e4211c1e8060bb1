"""`AttachedFile`: an uploaded file on its way into a vector store."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from rcc_integrations.document import Document, digest_of
from rcc_integrations.files.source import SourceFile


@dataclass(frozen=True)
class AttachedFile:
    """A file that is read into a document which remembers its id as a file and its attributes.

    Args:
        id: Id of the document.
        source: The file.
        file_id: Its id as a file.
        attributes: What the client says about it.
    """

    id: str
    source: SourceFile
    file_id: str
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hash of the bytes, the id and the attributes: if one of them changes, the document is stored anew."""
        more = json.dumps([self.file_id, self.attributes], sort_keys=True)
        return digest_of(f"{self.source.digest} {more}".encode())

    def read(self) -> Document:
        """Return the document; errors as in `SourceFile.read`."""
        document = self.source.read()
        metadata = {**document.metadata, "file_id": self.file_id, "attributes": self.attributes}
        return Document(self.id, document.text, self.digest, metadata)
