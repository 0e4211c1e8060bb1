"""Documents that can be added, and sources that can be read into documents."""

from __future__ import annotations

from typing import Any, Protocol

from rcc_integrations.document import Document
from rcc_integrations.errors import ConfigError, EmptyDocumentError
from rcc_integrations.memory.names import check_document_id


class Readable(Protocol):
    """Something that can be read into a document, such as `rcc_integrations.files.SourceFile`."""

    @property
    def id(self) -> str:
        """Id of the document."""
        ...

    @property
    def digest(self) -> str:
        """Hash of the source, by which an unchanged source is recognised without reading it."""
        ...

    def read(self) -> Document:
        """Return the document."""
        ...


def as_sources(documents: Any) -> list[Document | Readable]:
    """Normalise and check the documents that a user passes, before anything is compressed.

    Args:
        documents: A mapping from id to text, or documents or readable sources in any iterable.

    Raises:
        ConfigError: It is something else, or an id occurs twice.
        EmptyDocumentError: A text is empty.
        InvalidNameError: An id is not allowed.
    """
    if isinstance(documents, str | bytes):
        raise ConfigError("Give a mapping from document id to text, or a list of documents; this is bare text.")
    if hasattr(documents, "items"):
        documents = [Document(check_document_id(id), text) for id, text in documents.items()]
    sources: list[Document | Readable] = []
    seen: set[str] = set()
    for source in documents:
        # Asked of the type: a file's digest reads the file, which must not happen before it is its turn.
        if not ((hasattr(source, "id") and hasattr(type(source), "read")) or isinstance(source, Document)):
            raise ConfigError(f"A document must have id and text; this is {type(source).__name__}: {source!r:.80}.")
        check_document_id(source.id)
        if source.id in seen:
            raise ConfigError(f"Two documents have the id {source.id!r}; ids must differ within a collection.")
        seen.add(source.id)
        if isinstance(source, Document) and not source.text.strip():
            raise EmptyDocumentError(f"Document {source.id!r} has no text to compress.")
        sources.append(source)
    return sources
