"""`rcc serve` and `rcc mcp`: the store for a browser, other programs and MCP clients."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from rcc_integrations.cli.options import Settings, Store
from rcc_integrations.cli.output import Output


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port; 0 for any free port.")] = 8765,
    api_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            envvar="RCC_API_KEY",
            help="Key that clients must send; required if other machines can reach the address.",
            show_default=False,
        ),
    ] = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FOLDER=COLLECTION",
            help="Keep a collection in step with this folder; may be repeated.",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Additional host name of this server; may be repeated.", show_default=False),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Origin of web pages that may call the server (CORS).", show_default=False),
    ] = None,
    grounded: Annotated[
        bool, typer.Option("--grounded", help="Ground answers of /v1 unless a request says otherwise.")
    ] = False,
    max_waiting: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of waiting questions; further ones get status 429.")
    ] = 256,
    max_file: Annotated[int, typer.Option(min=1, metavar="MIB", help="Maximum size of an uploaded file.")] = 64,
    store: Store = None,
) -> None:
    """Serve a web page, OpenAI's interfaces (/v1), MCP (/mcp) and REST (/docs).

    The store is created if it does not exist. Ctrl-C ends the server; the store stays intact.

    \b
    Examples:
      rcc serve
      rcc serve --watch ./docs=handbook
      RCC_API_KEY=… rcc serve --host 0.0.0.0
    """  # noqa: D301
    settings = Settings.of(context, store)
    with Output(False, "Ended.") as out:
        from rcc_integrations.server.launch import serve as run
        from rcc_integrations.server.settings import ServerSettings

        given = ServerSettings(
            host=host,
            port=port,
            api_key=api_key,
            allowed_hosts=tuple(allow_host or ()),
            origins=tuple(allow_origin or ()),
            grounded=grounded,
            max_waiting=max_waiting,
            max_file_bytes=max_file * 2**20,
            max_body_bytes=max(256, max_file + 16) * 2**20,
        )

        def ready(url: str) -> None:
            out.line(f"{url}        the page", style="bold")
            out.line(f"{url}/v1     OpenAI's interfaces, collections as models")
            out.line(f"{url}/mcp    MCP, streamable HTTP")
            out.line(f"{url}/docs   all interfaces")
            out.line("Ctrl-C ends the server.", style="dim")
            sys.stdout.flush()

        reader = settings.open_reader(create=True, write=True)
        run(reader, given, watches=watch or (), model=settings.model_names, on_ready=ready)


def mcp(
    context: typer.Context,
    no_server: Annotated[
        bool, typer.Option("--no-server", help="Work in this process, even if a server is running on the store.")
    ] = False,
    store: Store = None,
) -> None:
    """Serve MCP over standard input and output, for a client that starts this command.

    If `rcc serve` is running on the store, it answers the requests.

    \b
    Example, in the settings of an MCP client:
      {"mcpServers": {"documents": {"command": "rcc", "args": ["--store", "/data/memory", "mcp"]}}}
    """  # noqa: D301
    settings = Settings.of(context, store)
    with Output(False):
        from rcc_integrations.server.launch import serve_stdio

        client = None if no_server else settings.find_server()
        serve_stdio(lambda: settings.open_reader(create=True, write=True), client)
