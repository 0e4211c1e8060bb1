"""`rcc chat`: a conversation with a collection."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated, Any

import typer

from rcc_integrations.cli.ask import show_answer
from rcc_integrations.cli.asker import Asker, open_asker
from rcc_integrations.cli.options import Collection, Settings, Store
from rcc_integrations.cli.output import Output
from rcc_integrations.errors import RCCError

_HELP = """Ask a question, or:
  /sources    what the last answer was read from
  /why        where the last answer stands, its confidence and what it took
  /history    what was asked and answered
  /forget     begin anew
  /quit       end (or Ctrl-D)"""


def chat(
    context: typer.Context,
    collection: Collection,
    grounded: Annotated[
        bool, typer.Option("--grounded/--free", help="Restrict answers to verbatim spans of the documents.")
    ] = True,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="Maximum number of tokens of an answer.")
    ] = 128,
    no_server: Annotated[
        bool, typer.Option("--no-server", help="Load the model here, even if a server is running on the store.")
    ] = False,
    store: Store = None,
) -> None:
    """Chat with a collection in the terminal.

    Questions that refer back (\"And on Sundays?\") are asked together with the previous one.

    \b
    Example:
      rcc chat handbook
    """  # noqa: D301
    settings = Settings.of(context, store)
    with Output(False) as out, open_asker(settings, collection, no_server=no_server) as asker:
        _Chat(out, asker, {"grounded": grounded, "max_new_tokens": max_new_tokens}).run(collection)


class _Chat:
    """The conversation.

    Args:
        out: Where to write.
        asker: Who answers.
        options: Of every question.
    """

    def __init__(self, out: Output, asker: Asker, options: dict[str, Any]) -> None:
        self._out, self._asker, self._options = out, asker, options
        self._said: list[dict[str, str]] = []
        self._last: dict[str, Any] | None = None

    def run(self, collection: str) -> None:
        """Read questions until there are no more."""
        prompt = ""
        if sys.stdin.isatty():
            import readline  # noqa: F401  (arrow keys bring back what was typed)

            self._out.line(f"Ask {collection}. /help says what else there is.", style="dim")
            prompt = "> "
        while True:
            try:
                line = input(prompt).strip()
            except EOFError:
                return
            if line in ("/quit", "/exit"):
                return
            if line.startswith("/"):
                self._command(line)
            elif line:
                try:
                    self._ask(line)
                except RCCError as error:
                    self._out.error(type(error).__name__, str(error))

    def _ask(self, question: str) -> None:
        with self._out.waiting("…"):
            pieces = self._asker.stream(question, history=self._said[-8:], **self._options)
            first = next(pieces)
        with closing(pieces):
            try:
                answer = self._out.answer(first, pieces)
            finally:
                self._out.line()
        self._last = answer
        self._said += [{"role": "user", "content": question}, {"role": "assistant", "content": answer["text"]}]
        for span in answer["spans"][:3]:
            self._out.line(f"  {span['document']}, characters {span['start']}-{span['end']}", style="dim")

    def _command(self, line: str) -> None:
        if line == "/help":
            self._out.line(_HELP)
        elif line == "/forget":
            self._said, self._last = [], None
        elif line == "/history":
            for each in self._said:
                self._out.line(f"{'> ' if each['role'] == 'user' else ''}{each['content']}")
        elif line in ("/sources", "/why"):
            if self._last is None:
                self._out.line("Nothing was asked yet.")
            elif line == "/why":
                show_answer(self._out, {**self._last, "sources": []})
            else:
                for source in self._last["sources"]:
                    self._out.line(f"{source['document']}, characters {source['start']}-{source['end']}", style="bold")
                    self._out.line(source["text"])
        else:
            self._out.line(f"There is no {line}. {_HELP}")
