"""`/v1/vector_stores`: a collection is a vector store."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from rcc_integrations.server.openai.file_store import FileStore
from rcc_integrations.server.openai.listing import page
from rcc_integrations.server.openai.schema import SearchRequest, VectorStoreRequest, unsupported
from rcc_integrations.server.openai.search import search
from rcc_integrations.server.openai.vector_files import VectorFiles
from rcc_integrations.server.service import Service

_DAY = 86400.0


def router(service: Service, files: FileStore, contents: VectorFiles) -> APIRouter:
    """Return the routes.

    Args:
        service: What answers.
        files: Uploaded files.
        contents: Files in vector stores.
    """
    routes = APIRouter(tags=["OpenAI"])
    reader = service.reader

    def free_name(wanted: str | None) -> str:
        known = {record.name for record in reader.collections()}
        name, number = wanted or "vector store", 1
        while name in known or (not wanted and number == 1):
            number += 1
            name = f"{wanted or 'vector store'} {number - (not wanted)}"
        return name

    def check(body: VectorStoreRequest) -> None:
        for field in ("metadata", "description"):
            if getattr(body, field):
                raise unsupported(field, getattr(body, field))

    def expire(name: str, body: VectorStoreRequest) -> None:
        if "expires_after" in body.model_fields_set:
            after = body.expires_after
            reader.set_expiry(name, None if after is None else after.days * _DAY, renew=True)

    @routes.post("/vector_stores")
    def create_vector_store(body: VectorStoreRequest) -> dict[str, Any]:
        """Make a collection; the files named are added to it."""
        check(body)
        for file in body.file_ids or ():
            files.find(file)
        record = reader.create(free_name(body.name))
        expire(record.name, body)
        if body.file_ids:
            contents.attach(record, [(file, {}) for file in body.file_ids])
        return contents.store_shape(reader.store.collection(record.name))

    @routes.get("/vector_stores")
    def list_vector_stores(
        limit: int = 20, order: str = "desc", after: str | None = None, before: str | None = None
    ) -> dict[str, Any]:
        """List collections."""
        return page([contents.store_shape(record) for record in reader.collections()], limit, order, after, before)

    @routes.get("/vector_stores/{id}")
    def get_vector_store(id: str) -> dict[str, Any]:
        """Describe a collection."""
        return contents.store_shape(contents.collection(id))

    @routes.post("/vector_stores/{id}")
    def change_vector_store(id: str, body: VectorStoreRequest) -> dict[str, Any]:
        """Rename a collection, or change when it expires."""
        check(body)
        record = contents.collection(id)
        if body.name is not None and body.name != record.name:
            record = reader.rename(record.name, body.name)
        expire(record.name, body)
        return contents.store_shape(reader.store.collection(record.name))

    @routes.delete("/vector_stores/{id}")
    def delete_vector_store(id: str) -> dict[str, Any]:
        """Remove a collection with its documents."""
        reader.drop(contents.collection(id).name)
        return {"id": id, "object": "vector_store.deleted", "deleted": True}

    @routes.post("/vector_stores/{id}/search")
    def search_vector_store(id: str, body: SearchRequest) -> dict[str, Any]:
        """Return the windows that share most words with a query; no model is needed."""
        record = contents.collection(id)
        queries = [body.query] if isinstance(body.query, str) else body.query
        threshold = float((body.ranking_options or {}).get("score_threshold") or 0.0)
        found = search(reader, files, record, " ".join(queries), body.max_num_results, body.filters)
        data = [
            {name: each[name] for name in ("file_id", "filename", "score", "attributes")}
            | {"content": [{"type": "text", "text": each["text"]}]}
            for each in found
            if each["score"] >= threshold
        ]
        return {"object": "vector_store.search_results.page", "search_query": queries, "data": data,
                "has_more": False, "next_page": None}  # fmt: skip

    return routes
