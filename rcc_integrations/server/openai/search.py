"""Search over a collection in OpenAI's shape."""

from __future__ import annotations

from typing import Any

from rcc_integrations.memory.records import CollectionRecord
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.server.openai.file_store import FileStore
from rcc_integrations.server.openai.filters import passes


def search(
    reader: RCCReader, files: FileStore, collection: CollectionRecord, query: str, most: int, filters: Any = None
) -> list[dict[str, Any]]:
    """Return the windows of a collection that fit a query best.

    Args:
        reader: The reader.
        files: What knows the ids of documents as files.
        collection: The collection.
        query: The query.
        most: The most windows to return.
        filters: Over the attributes of files; see `passes`.

    Returns:
        Results with `file_id`, `filename`, `score` (BM25's, brought between 0 and 1), `text` and `attributes`, which
        also say where the text stands in the document: `start` and `end`, in characters.
    """
    stored = {each.document.id: each for each in files.stored_in(collection)}
    chosen = None
    if filters is not None:
        chosen = [id for id, each in stored.items() if passes(filters, attributes_of(id, each.document.metadata))]
        if not chosen:
            return []
    results = []
    for source in reader.search(collection.name, query, most, documents=chosen):
        attributes = attributes_of(source.document, source.metadata)
        results.append({
            "file_id": stored[source.document].id, "filename": source.document,
            "score": round(source.score / (source.score + 1), 6), "text": source.text,
            "attributes": {**attributes, "start": source.start, "end": source.end},
        })  # fmt: skip
    return results


def attributes_of(document: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return what filters see of a document: its name, and the attributes that it was added with."""
    given = metadata.get("attributes")
    return {"filename": document, **(given if isinstance(given, dict) else {})}
