"""The server's own interface: what the page, `rcc ask` and `rcc chat` use."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from rcc_integrations.chat.followup import next_request
from rcc_integrations.memory.expiry import parse_ttl
from rcc_integrations.reader.answer import Answer
from rcc_integrations.routing.route import Routing
from rcc_integrations.server.engine import while_connected
from rcc_integrations.server.openai.schema import Strict
from rcc_integrations.server.service import Service
from rcc_integrations.server.sse import event, primed
from rcc_integrations.server.uploads import read_uploads


class Said(Strict):
    """What was said before a question."""

    role: Literal["user", "assistant"]
    content: str


class Question(Strict):
    """A question to a collection; the options are those of `RCCReader.ask`."""

    question: str = Field(min_length=1)
    history: list[Said] = Field(default_factory=list, max_length=200)
    stream: bool = True
    grounded: bool = True
    documents: list[str] | None = None
    max_windows: int | None = Field(default=None, ge=1)
    max_new_tokens: int = Field(default=128, ge=1)
    sources: int = Field(default=3, ge=0, le=50)
    expand: int = Field(default=0, ge=0)
    routing: Routing = "both"
    vote: int = Field(default=0, ge=0)
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    temperature: float = Field(default=0.0, ge=0)
    seed: int | None = None
    stop: list[str] = Field(default_factory=list)


class Change(Strict):
    """A change of a collection: another name, or when it is gone by itself."""

    name: str | None = None
    ttl: str | None = Field(default=None, description="Such as 12h or 7d; an empty string for never.")
    renew: bool = False


class Text(Strict):
    """A text to add."""

    id: str
    text: str
    ttl: str | None = None


class SearchQuery(Strict):
    """A search."""

    query: str
    k: int = Field(default=5, ge=1, le=100)
    documents: list[str] | None = None
    routing: Routing = "both"


def router(service: Service) -> APIRouter:
    """Return the routes.

    Args:
        service: What answers.
    """
    routes = APIRouter(tags=["RCC"])
    reader = service.reader

    @routes.get("/status")
    def get_status() -> dict[str, Any]:
        """Say how the server is: whether the model is loaded, what is waiting, what is taken."""
        return service.status()

    @routes.get("/stats")
    def get_stats() -> dict[str, Any]:
        """Count what is in the store, and how large it is."""
        stats = reader.store.stats()
        return {name: getattr(stats, name) for name in stats.__dataclass_fields__}

    @routes.post("/verify")
    async def verify(repair: bool = False) -> dict[str, Any]:
        """Check the whole store, and repair what can be repaired."""
        report = await run_in_threadpool(lambda: reader.verify(repair=repair))
        return {**asdict(report), "ok": report.ok}

    @routes.get("/collections")
    def list_collections() -> list[dict[str, Any]]:
        """List collections."""
        return service.collections()

    @routes.get("/collections/{name}")
    def get_collection(name: str) -> dict[str, Any]:
        """Describe a collection: its documents, and what it costs."""
        return service.collection(name)

    @routes.patch("/collections/{name}")
    def change_collection(name: str, change: Change) -> dict[str, Any]:
        """Rename a collection, or say when it is gone by itself."""
        if change.ttl is not None:
            reader.set_expiry(name, parse_ttl(change.ttl) if change.ttl else None, renew=change.renew)
        if change.name is not None:
            name = reader.rename(name, change.name).name
        return service.collection(name)

    @routes.delete("/collections/{name}", status_code=204)
    def drop_collection(name: str) -> None:
        """Remove a collection and all its documents."""
        reader.drop(name)

    @routes.get("/collections/{name}/document")
    def get_document(name: str, id: str) -> dict[str, Any]:
        """Return a document's text, and where its windows are."""
        return service.document(name, id)

    @routes.delete("/collections/{name}/document", status_code=204)
    def delete_document(name: str, id: list[str] = Query()) -> None:  # noqa: B008
        """Remove documents, all that are named or none."""
        reader.delete(name, id)

    @routes.post("/collections/{name}/files", status_code=202)
    async def add_files(name: str, http: Request, ttl: str | None = None) -> dict[str, Any]:
        """Upload files (`files`, as multipart form); returns the job that adds them."""
        options = {"ttl": parse_ttl(ttl)} if ttl else {}
        async with http.form(max_files=service.settings.max_files + 1, max_fields=10) as form:
            sources, skipped, held = await read_uploads(form.getlist("files"), service.settings)
        return service.jobs.submit(name, sources, skipped=skipped, held=held, options=options).to_dict()

    @routes.post("/collections/{name}/texts", status_code=202)
    def add_text(name: str, text: Text) -> dict[str, Any]:
        """Add a text; returns the job that adds it."""
        return service.add_text(name, text.id, text.text, parse_ttl(text.ttl) if text.ttl else None).to_dict()

    @routes.get("/jobs")
    def list_jobs() -> list[dict[str, Any]]:
        """List what is being added, and was lately."""
        return [job.to_dict() for job in service.jobs.all()]

    @routes.get("/jobs/{id}")
    def get_job(id: str) -> dict[str, Any]:
        """Say how far a job is."""
        return service.jobs.get(id).to_dict()

    @routes.get("/jobs/{id}/events", response_model=None)
    async def follow_job(id: str) -> Response:
        """Tell of a job's progress, as server-sent events, to its end."""

        async def events() -> AsyncGenerator[bytes]:
            async with aclosing(service.jobs.follow(id)) as states:
                async for state in states:
                    yield event(state, "job")

        return await primed(events())

    @routes.delete("/jobs/{id}")
    def cancel_job(id: str) -> dict[str, Any]:
        """Stop a job; documents that are done stay."""
        return service.jobs.cancel(id).to_dict()

    @routes.post("/collections/{name}/search")
    def search(name: str, search: SearchQuery) -> dict[str, Any]:
        """Return the windows that match a query best."""
        return service.search(name, search.query, search.k, search.documents, search.routing)

    @routes.post("/collections/{name}/ask", response_model=None)
    async def ask(name: str, body: Question, http: Request) -> Response | dict[str, Any]:
        """Answer a question: as events `piece` and then `answer`, or whole with `stream: false`."""
        options = body.model_dump(exclude={"question", "history", "stream"})
        options["stop"] = tuple(options["stop"])
        history = [said.model_dump() for said in body.history]
        request, refers_back = next_request(name, body.question, history, options)

        def shape(answer: Answer) -> dict[str, Any]:
            return answer.to_dict() | {"refers_back": refers_back}

        if not body.stream:
            return shape(await while_connected(http, service.engine.answer(lambda: request)))

        async def events() -> AsyncGenerator[bytes]:
            async with aclosing(service.engine.stream(lambda: request)) as pieces:
                async for piece in pieces:
                    yield event(piece, "piece") if isinstance(piece, str) else event(shape(piece), "answer")

        return await while_connected(http, primed(events()))

    return routes
