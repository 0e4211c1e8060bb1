"""The `rcc` application: the global options and the commands."""

from __future__ import annotations

from typing import Annotated

import typer

from rcc_integrations._version import __version__
from rcc_integrations.cli.add import add
from rcc_integrations.cli.ask import ask, search
from rcc_integrations.cli.calibrate import calibrate
from rcc_integrations.cli.care import pull, stats, verify
from rcc_integrations.cli.chat import chat
from rcc_integrations.cli.eval import evaluate
from rcc_integrations.cli.manage import ls, mv, rm
from rcc_integrations.cli.options import Settings
from rcc_integrations.cli.serve import mcp, serve
from rcc_integrations.cli.show import show
from rcc_integrations.cli.train import train

app = typer.Typer(
    name="rcc",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    # Neither brackets in help texts nor an unforeseen error's values are for rich to interpret.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (add, ask, chat, serve, mcp, search, ls, show, rm, mv, stats, verify, pull, train):
    app.command(command.__name__)(command)
app.command("eval")(evaluate)
app.command("calibrate")(calibrate)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rcc-integrations {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    store: Annotated[
        str, typer.Option("--store", metavar="PATH", envvar="RCC_STORE", help="Folder of the store.")
    ] = "memory",
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="PATH_OR_HUB",
            envvar="RCC_MODEL",
            help="Folder or hub id of an RCC model; the default model if not given.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="PATH_OR_HUB",
            envvar="RCC_BASE",
            help="Any causal LM without an adapter: exact memory at ratio 1. "
            "smollm2-135m-instruct is the base of the default model.",
            show_default=False,
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="cpu, cuda, cuda:1, …; chosen automatically if not given.", show_default=False
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="DTYPE", help="float32, bfloat16 or float16; chosen automatically if not given.", show_default=False
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Compress documents into memory on disk, and answer questions from it.

    \b
    Examples:
      rcc add handbook docs/
      rcc ask handbook "When does the ferry leave?"
      rcc --store /data/memory ls
    """  # noqa: D301  (typer wants the control character itself)
    context.obj = Settings(store, model, base, device, dtype)
