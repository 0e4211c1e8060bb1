"""`RemoteTools`: MCP's tools, done by a server in another process."""

from __future__ import annotations

import asyncio
from typing import Any

from rcc_integrations.server.client import ServerClient


class RemoteTools:
    """Tools of a running server.

    Args:
        client: The server.
    """

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    async def ask(self, collection: str, question: str, **options: Any) -> dict[str, Any]:
        """Answer a question."""
        return await asyncio.to_thread(lambda: self._client.ask(collection, question, **options))

    async def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of `Service` by name."""
        return await asyncio.to_thread(getattr(self._client, method), *arguments)

    async def add(self, collection: str, document: str, text: str) -> dict[str, Any]:
        """Add a text and wait until it is there."""
        return await asyncio.to_thread(self._client.add, collection, document, text)
