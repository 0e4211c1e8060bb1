"""`OpenWebUIPaths`: OpenAI's interfaces once more, for Open WebUI."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

_PREFIX = "/open-webui"


class OpenWebUIPaths:
    """Serves `/open-webui/v1/…` as `/v1/…`, and marks it.

    Open WebUI shows the passages of an answer if they come as events of its own, which other clients have no use for.

    Args:
        app: What comes behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"].startswith(f"{_PREFIX}/v1/"):
            path = scope["path"].removeprefix(_PREFIX)
            scope = {**scope, "path": path, "raw_path": path.encode(), "rcc_open_webui": True}
        await self._app(scope, receive, send)
