"""The command line, `rcc`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typer import Typer


def main() -> None:
    """Run `rcc` with the process's arguments and end the process with its exit code."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character of a document must not end the command.
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="replace")
    try:
        from rcc_integrations.cli.app import app

        code = _run(app)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        # Whoever read has seen enough: that is no failure of the command.
        from rcc_integrations.cli.output import forget_output

        forget_output()
        code = 0
    sys.exit(code)


def _run(app: Typer) -> int:
    """Run the application; return the exit code."""
    import typer

    # typer brings a click of its own, or uses the installed one.
    click_exception: type[Exception] = next(
        kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
    )
    try:
        result = app(prog_name="rcc", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        return 130
    except click_exception as caught:
        error: Any = caught
        if "--json" in sys.argv[1:]:
            from rcc_integrations.cli.output import Output

            Output(True).error(type(error).__name__, error.format_message())
        else:
            error.show()
        return int(error.exit_code)


def _open_streams() -> None:
    """Give a process that was started with closed standard streams ones that lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  (for the whole process)
