"""`/v1/responses`, with `file_search` over collections."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from rcc_integrations.server.engine import while_connected
from rcc_integrations.server.failures import RequestError
from rcc_integrations.server.openai.file_store import FileStore
from rcc_integrations.server.openai.response import PlannedResponse
from rcc_integrations.server.openai.schema import ResponseRequest
from rcc_integrations.server.openai.vector_files import VectorFiles
from rcc_integrations.server.service import Service
from rcc_integrations.server.sse import primed

#: Responses that are remembered, for `previous_response_id`.
_KEPT = 500


def router(service: Service, files: FileStore, contents: VectorFiles) -> APIRouter:
    """Return the routes.

    Args:
        service: What answers.
        files: Uploaded files.
        contents: Files in vector stores.
    """
    routes = APIRouter(tags=["OpenAI"])
    kept: OrderedDict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = OrderedDict()

    def keep(response: dict[str, Any], messages: list[dict[str, Any]]) -> None:
        if response["store"]:
            kept[response["id"]] = response, messages
            while len(kept) > _KEPT:
                kept.popitem(last=False)

    def find(id: str, param: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        if id not in kept:
            raise RequestError(404, f"Response with id '{id}' not found: the server keeps the last {_KEPT}, until it "
                               "ends.", param=param, code="response_not_found")  # fmt: skip
        return kept[id]

    @routes.post("/responses", response_model=None)
    async def create_response(body: ResponseRequest, http: Request) -> Response | dict[str, Any]:
        """Answer from the collections that `file_search` names, or from the one that is named as model."""
        before = find(body.previous_response_id, "previous_response_id")[1] if body.previous_response_id else []
        plan = PlannedResponse(service, files, contents, body, before, keep)
        if body.stream:
            return await while_connected(http, primed(plan.stream()))
        return await while_connected(http, plan.whole())

    @routes.get("/responses/{id}")
    def get_response(id: str) -> dict[str, Any]:
        """Return a response that was made before."""
        return find(id, "response_id")[0]

    @routes.delete("/responses/{id}")
    def delete_response(id: str) -> dict[str, Any]:
        """Forget a response."""
        find(id, "response_id")
        del kept[id]
        return {"id": id, "object": "response", "deleted": True}

    return routes
