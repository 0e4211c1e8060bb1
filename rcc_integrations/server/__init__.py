"""Serve collections: a web page, OpenAI's HTTP interfaces, MCP. Needs the extra `server`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rcc_integrations.server.settings import DEFAULT_PORT, ServerSettings

if TYPE_CHECKING:
    from rcc_integrations.server.app import create_app

__all__ = ["DEFAULT_PORT", "ServerSettings", "create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from rcc_integrations.server.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
