"""The command line, `rcc`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `rcc` with the process's arguments and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character of a document must not end the command.
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="replace")
    try:
        from rcc_integrations.cli.app import app

        app(prog_name="rcc")
    except KeyboardInterrupt:
        sys.exit(130)
