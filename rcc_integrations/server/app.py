"""`create_app`: everything that a server answers, as one ASGI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from rcc_integrations._version import __version__
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.server import rest
from rcc_integrations.server.failures import RequestError, body_of, headers_of, status_of
from rcc_integrations.server.guard import Guard
from rcc_integrations.server.mcp_tools import build_mcp
from rcc_integrations.server.open_webui import OpenWebUIPaths
from rcc_integrations.server.openai import (
    chat,
    completions,
    files,
    models,
    responses,
    vector_file_routes,
    vector_stores,
)
from rcc_integrations.server.openai.file_store import FileStore
from rcc_integrations.server.openai.vector_files import VectorFiles
from rcc_integrations.server.service import Service
from rcc_integrations.server.settings import ServerSettings
from rcc_integrations.server.watch import Watch

PAGE = Path(__file__).parent / "page"
_log = logging.getLogger(__name__)


def create_app(
    reader: RCCReader,
    settings: ServerSettings | None = None,
    *,
    watches: Sequence[Watch] = (),
    keys: Sequence[str] = (),
    warm_up: bool = True,
) -> ASGIApp:
    """Return the server's application; it closes the reader when it ends.

    Args:
        reader: What answers; its model is loaded when the application starts.
        settings: How it behaves.
        watches: Folders whose files are kept in collections.
        keys: Further API keys that are accepted.
        warm_up: Whether the model is loaded at the start, and not for the first question.
    """
    settings = settings or ServerSettings()
    service = Service(reader, settings)
    mcp = build_mcp(service)
    mcp_app = mcp.streamable_http_app(stateless_http=True, transport_security=_UNCHECKED)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with AsyncExitStack() as running:
            running.callback(service.close)
            await running.enter_async_context(mcp.session_manager.run())
            if warm_up:
                service.warm_up()
            service.sweep()
            for watch in watches:
                watch.start(service)
                running.callback(watch.stop)
            yield

    app = FastAPI(
        title="RCC Integrations", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Questions to documents that were read once. Beside these routes, /mcp speaks MCP.",
    )  # fmt: skip
    app.state.service = service
    uploads = FileStore(reader, settings.max_held_bytes)
    contents = VectorFiles(service, uploads)
    app.include_router(rest.router(service), prefix="/api")
    for routes in (
        models.router(service), chat.router(service, uploads), completions.router(service),
        files.router(service, uploads), vector_stores.router(service, uploads, contents),
        vector_file_routes.router(service, uploads, contents), responses.router(service, uploads, contents),
    ):  # fmt: skip
        app.include_router(routes, prefix="/v1")
    app.router.routes.extend(mcp_app.routes)
    _add_pages(app)
    _add_error_handlers(app)
    guarded: ASGIApp = Guard(OpenWebUIPaths(app), settings, keys)
    if settings.origins:
        guarded = CORSMiddleware(
            guarded, allow_origins=list(settings.origins), allow_methods=["*"], allow_headers=["*"],
            expose_headers=["Retry-After"],
        )  # fmt: skip
    return guarded


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/docs", include_in_schema=False)
    def documentation() -> Response:
        return FileResponse(PAGE / "docs.html", headers={"Cache-Control": "no-cache"})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def _add_error_handlers(app: FastAPI) -> None:
    def told(error: Exception) -> Response:
        status = status_of(error)
        if status == 500:
            _log.error("A request failed.", exc_info=error)
        return JSONResponse(body_of(error), status, headers=headers_of(error))

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return told(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return told(_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def refused(http: Request, error: HTTPException) -> Response:
        if isinstance(error.__cause__, RequestError):  # a body that is too large, found while it was read
            return told(error.__cause__)
        message = str(error.detail)
        if error.status_code in (404, 405):
            message = f"There is nothing for {http.method} {http.url.path} here."
        return told(RequestError(error.status_code, message, code="not_found" if error.status_code == 404 else None))

    from rcc_integrations.errors import RCCError

    # Named on its own, so that it is handled without being logged as a fault of the server.
    app.add_exception_handler(RCCError, failed)


def _validation(errors: Sequence[Any]) -> RequestError:
    """Return what is wrong with a request's fields, in OpenAI's words."""
    first = errors[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    field = ".".join(place) or None
    if first["type"] == "extra_forbidden":
        return RequestError(400, f"Unknown parameter: '{field}'.", param=field, code="unknown_parameter")
    if first["type"] == "missing":
        return RequestError(
            400, f"Missing required parameter: '{field}'.", param=field, code="missing_required_parameter"
        )
    if first["type"] == "json_invalid":
        return RequestError(400, "The body of the request is no JSON.", code="invalid_json")
    return RequestError(400, f"Invalid value for '{field}': {first['msg']}.", param=field, code="invalid_value")


def _unchecked() -> Any:
    from mcp.server.transport_security import TransportSecuritySettings

    return TransportSecuritySettings(enable_dns_rebinding_protection=False)


#: `Guard` checks hosts and origins for everything.
_UNCHECKED = _unchecked()
