"""What commands write: plain text and tables, or one JSON document; and how errors end them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rcc_integrations.cli.clean import clean, escape_json, one_line
from rcc_integrations.errors import RCCError

#: Exit code after Ctrl-C, as shells have it.
INTERRUPTED = 130
#: Width of tables that do not go to a terminal: lines are never broken there.
_UNBROKEN = 100_000


class Output:
    """Where a command writes; as a context manager it turns errors of the package into messages and exit codes.

    Args:
        as_json: Write one JSON document to standard output and nothing else there.
        interrupted: What to say after Ctrl-C.
    """

    def __init__(self, as_json: bool, interrupted: str = "Interrupted.") -> None:
        self.as_json = as_json
        self._interrupted = interrupted
        self._written = False
        self._out = _console(stderr=False)
        self._err = _console(stderr=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self.error("Interrupted", self._interrupted, label="")
            raise typer.Exit(INTERRUPTED) from None
        if isinstance(error, BrokenPipeError):
            # Whoever read has seen enough: that is no failure of the command, and there is nobody left to tell.
            forget_output()
            raise typer.Exit(0) from None
        if isinstance(error, RCCError | OSError):
            self.error(type(error).__name__, str(error))
            raise typer.Exit(1) from None

    def json(self, value: Any) -> None:
        """Write the one JSON document of a command with `--json`.

        Args:
            value: Plain dicts, lists, text and numbers.
        """
        plain = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") != "utf8"
        self._written = True
        self.piece(escape_json(json.dumps(value, indent=2, ensure_ascii=plain)) + "\n")

    def error(self, kind: str, message: str, *, label: str = "Error: ", **more: Any) -> None:
        """Say what went wrong: on standard error, or with `--json` as the JSON document.

        Args:
            kind: Name of the error's class.
            message: What is wrong.
            label: What stands before the message on standard error.
            **more: Further parts of the JSON document.
        """
        if self.as_json and not self._written:
            self.json({"error": {"type": kind, "message": message}, **more})
            return
        text = Text(label, style="bold red").append(one_line(message), style="not bold red")
        self._err.print(text, soft_wrap=True)

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line of text, unless the output is JSON."""
        if not self.as_json:
            self._out.print(Text(clean(text), style=style), soft_wrap=True)

    def piece(self, text: str) -> None:
        """Write text at once and as it is, but for characters that a terminal could take for commands."""
        sys.stdout.write(clean(text))
        sys.stdout.flush()

    def answer(self, first: str | dict[str, Any], rest: Iterable[str | dict[str, Any]]) -> dict[str, Any]:
        """Write an answer's pieces as they come, and return the answer.

        Args:
            first: The first piece, or the answer if there is none.
            rest: Further pieces, at their end the answer.
        """
        for piece in itertools.chain([first], rest):
            if not isinstance(piece, str):
                return piece
            self.piece(piece)
        raise RuntimeError("An answer's pieces must end with the answer.")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Write a table, unless the output is JSON; numbers are set to the right.

        Args:
            columns: Headings.
            rows: Cells; whole numbers get thousands separators.
        """
        if self.as_json:
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, column in enumerate(columns):
            right = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
            table.add_column(Text(column), justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*[Text(_cell(value)) for value in row])
        self._out.print(table)

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show on a terminal that work is going on; elsewhere write nothing.

        Args:
            text: What is being done.
        """
        if self._err.is_terminal:
            with self._err.status(Text(clean(text))):
                yield
        else:
            yield


def forget_output() -> None:
    """Keep Python from writing what is left to a pipe that nobody reads when the process ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the right form, such as `1 document` or `1,200 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.2f}" if isinstance(value, float) else one_line(value)


class _Console(Console):
    """A console that leaves a closed pipe to `Output`, where rich would end the process with an error."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    console = _Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNBROKEN
    return console
