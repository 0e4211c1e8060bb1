"""`/v1/models`: collections are models."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from rcc_integrations.errors import UnknownCollectionError
from rcc_integrations.server.openai.shapes import model_entry
from rcc_integrations.server.service import Service

#: The model without documents, and the one that `/v1/responses` asks with `file_search`.
BASE_MODEL = "rcc"


def collection_of(service: Service, model: str) -> str | None:
    """Return the collection that a model stands for; `None` for the model without documents.

    Raises:
        UnknownCollectionError: There is no such model.
    """
    try:
        return service.reader.store.collection(model).name
    except UnknownCollectionError:
        if model == BASE_MODEL:
            return None
        raise


def router(service: Service) -> APIRouter:
    """Return the routes.

    Args:
        service: What answers.
    """
    routes = APIRouter(tags=["OpenAI"])

    def base() -> dict[str, Any]:
        return {"id": BASE_MODEL, "object": "model", "created": int(service.started), "owned_by": "rcc-integrations"}

    @routes.get("/models")
    def list_models() -> dict[str, Any]:
        """List collections, and the model without documents."""
        entries = [model_entry(record) for record in service.reader.collections()]
        named = {entry["id"] for entry in entries}
        return {"object": "list", "data": entries if BASE_MODEL in named else [*entries, base()]}

    @routes.get("/models/{model}")
    def get_model(model: str) -> dict[str, Any]:
        """Describe one of them."""
        name = collection_of(service, model)
        return base() if name is None else model_entry(service.reader.store.collection(name))

    return routes
