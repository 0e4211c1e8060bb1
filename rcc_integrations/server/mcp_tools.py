"""The MCP server: tools over collections, answered by this process."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations

from rcc_integrations._version import __version__
from rcc_integrations.errors import RCCError
from rcc_integrations.reader.request import Request
from rcc_integrations.server.service import Service

_INSTRUCTIONS = (
    "Questions to collections of documents that were read once and compressed. Look at list_collections first. "
    "ask answers from a collection and says where in the documents the answer stands; search only finds passages. "
    "Positions are characters of a document's text, as read_document returns it."
)
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_WRITES = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)


class Tools(Protocol):
    """What the tools are made of; a server's own, or one that is reached over HTTP."""

    async def ask(self, collection: str, question: str, **options: Any) -> dict[str, Any]:
        """Answer a question."""
        ...

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of `Service` by name."""
        ...

    async def add(self, collection: str, document: str, text: str) -> dict[str, Any]:
        """Add a text and wait until it is there."""
        ...


class ServiceTools:
    """Tools of a service in this process.

    Args:
        service: The service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def ask(self, collection: str, question: str, **options: Any) -> dict[str, Any]:
        """Answer a question."""
        request = Request.about(collection, question, options)
        return (await self._service.engine.answer(lambda: request)).to_dict()

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of `Service` by name."""
        return await asyncio.to_thread(getattr(self._service, method), *arguments)

    async def add(self, collection: str, document: str, text: str) -> dict[str, Any]:
        """Add a text and wait until it is there."""
        job = self._service.add_text(collection, document, text)
        async for state in self._service.jobs.follow(job.id):
            last = state
        return last


def build_mcp(service: Service | Tools) -> MCPServer[Any]:
    """Return the MCP server.

    Args:
        service: What the tools do.
    """
    tools: Tools = ServiceTools(service) if isinstance(service, Service) else service
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    server: MCPServer[Any] = MCPServer(
        "rcc-integrations", title="RCC Integrations", version=__version__, instructions=_INSTRUCTIONS
    )
    # It sets up the logging of the whole process, which is not a library's to do.
    root.handlers[:], root.level = handlers, level

    @server.tool(title="Collections", annotations=_READS)
    async def list_collections() -> dict[str, Any]:
        """List the collections, with how much is in each."""
        return {"collections": await _done(tools.call("collections"))}

    @server.tool(title="Documents", annotations=_READS)
    async def list_documents(collection: str) -> dict[str, Any]:
        """List the documents of a collection."""
        return dict(await _done(tools.call("collection", collection)))

    @server.tool(title="Ask", annotations=_READS)
    async def ask(
        collection: str, question: str, grounded: bool = True, documents: list[str] | None = None,
        min_confidence: float = 0.0,
    ) -> dict[str, Any]:  # fmt: skip
        """Answer a question from a collection.

        Grounded answers are verbatim spans of the documents (`spans` says where), or `not stated`. `confidence` says
        how likely the documents say this, `support` where they speak of it, `sources` what was read.
        """
        options = {"grounded": grounded, "documents": documents, "min_confidence": min_confidence}
        return dict(await _done(tools.ask(collection, question, **options)))

    @server.tool(title="Search", annotations=_READS)
    async def search(collection: str, query: str, k: int = 5) -> dict[str, Any]:
        """Find the passages of a collection that share most words with a query, with where they stand."""
        return dict(await _done(tools.call("search", collection, query, max(1, min(k, 50)))))

    @server.tool(title="Read a document", annotations=_READS)
    async def read_document(collection: str, document: str, start: int = 0, end: int | None = None) -> dict[str, Any]:
        """Return a document's text, or a part of it: characters `start` to `end`."""
        found = await _done(tools.call("document", collection, document))
        part = found["text"][max(0, start) : end]
        return {"document": document, "start": max(0, start), "characters": found["characters"], "text": part,
                "metadata": found["metadata"]}  # fmt: skip

    @server.tool(title="Add a text", annotations=_WRITES)
    async def add_text(collection: str, document: str, text: str) -> dict[str, Any]:
        """Add a text to a collection as a document, or replace the document of that name; returns when it is there."""
        job = await _done(tools.add(collection, document, text))
        if job["state"] != "done":
            raise ToolError(f"The text was not added: {job['error'] or job['state']}")
        return dict(job)

    return server


async def _done(work: Any) -> Any:
    """Wait for some work; what is wrong is told to the model that called."""
    try:
        return await work
    except RCCError as error:
        raise ToolError(str(error)) from error
