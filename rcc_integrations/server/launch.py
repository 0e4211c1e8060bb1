"""Run a server: `serve` over HTTP, `serve_stdio` as an MCP server of one client."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

from rcc_integrations.errors import ConfigError, MissingExtraError
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.server.client import ServerClient
from rcc_integrations.server.notice import Note
from rcc_integrations.server.settings import ServerSettings

#: After a signal to end, answers under way have so many seconds.
_GRACE = 5


def serve(
    reader: RCCReader,
    settings: ServerSettings,
    *,
    watches: Sequence[str] = (),
    model: list[str | None] | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until the process is told to end; answers under way are given a moment, then stopped.

    Args:
        reader: What answers; it is closed at the end.
        settings: How the server behaves.
        watches: Folders to keep in collections, `FOLDER=COLLECTION`.
        model: What `--model` and `--base` are, for commands that look for a server.
        on_ready: Called with the server's address once it listens.

    Raises:
        ConfigError: The address cannot be listened on, or a folder is not there.
        MissingExtraError: The extra `server` is not installed.
    """
    try:
        import uvicorn

        from rcc_integrations.server.app import create_app
        from rcc_integrations.server.watch import Watch
    except ImportError as error:
        reader.close()
        raise MissingExtraError(str(getattr(error, "name", None) or error), "server", "`rcc serve`") from error
    try:
        watched = [Watch.parse(text) for text in watches]
        listener = _listen(settings)
    except BaseException:
        reader.close()
        raise
    note = Note(reader.store.id, reader.store.path, model or [None, None])
    app = create_app(reader, settings, watches=watched, keys=[note.key])
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, date_header=False, lifespan="on",
        timeout_graceful_shutdown=_GRACE, ws="none", timeout_keep_alive=30,
    )  # fmt: skip
    logging.getLogger("mcp").setLevel(logging.WARNING)
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else shown}:{port}"

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # Uvicorn's own raises the signal anew at the end, which would end the process before it has cleaned up.
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for each, handler in before.items():
                    signal.signal(each, handler)

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                note.write(url)
                if on_ready is not None:
                    on_ready(url)

    with closing(listener):
        try:
            Server(config).run(sockets=[listener])
        finally:
            note.remove()


def serve_stdio(open_reader: Callable[[], RCCReader], client: ServerClient | None) -> None:
    """Serve MCP over standard input and output, until the client closes them.

    Args:
        open_reader: Opens the store, if there is no server.
        client: A running server that does the work instead.

    Raises:
        MissingExtraError: The extra `server` is not installed.
    """
    try:
        from rcc_integrations.server.mcp_tools import build_mcp
        from rcc_integrations.server.remote_tools import RemoteTools
        from rcc_integrations.server.service import Service
    except ImportError as error:
        raise MissingExtraError(str(getattr(error, "name", None) or error), "server", "`rcc mcp`") from error
    # Standard output belongs to the protocol.
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    if client is not None:
        asyncio.run(build_mcp(RemoteTools(client)).run_stdio_async())
        return

    async def run() -> None:
        service = Service(open_reader(), ServerSettings())
        try:
            service.warm_up()
            await build_mcp(service).run_stdio_async()
        finally:
            service.close()

    asyncio.run(run())


def _listen(settings: ServerSettings) -> socket.socket:
    host = settings.host.strip("[]")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(2048)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}. Another server may be "
            "there: give another --port, or 0 for any that is free."
        ) from error
    return listener
