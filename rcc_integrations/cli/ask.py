"""`rcc ask` and `rcc search`: questions to a collection."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import Annotated, Any

import typer

from rcc_integrations.cli.asker import open_asker
from rcc_integrations.cli.clean import one_line
from rcc_integrations.cli.options import Collection, Json, Routing, Settings, Store
from rcc_integrations.cli.output import Output, counted
from rcc_integrations.errors import ConfigError

_SHOWN_CHARACTERS = 100


def ask(
    context: typer.Context,
    collection: Collection,
    question: Annotated[
        str | None,
        typer.Argument(
            metavar="QUESTION", help="The question; if it is - or missing, standard input is read.", show_default=False
        ),
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Maximum number of tokens to generate.", show_default=False)
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0.0, metavar="T", help="0 is greedy decoding; above 0, tokens are sampled.", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="S", help="Makes sampling reproducible.", show_default=False)
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(metavar="TEXT", help="Stop at this text; may be repeated.", show_default=False),
    ] = None,
    document: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Answer only from this document; may be repeated.", show_default=False),
    ] = None,
    max_windows: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Maximum number of windows in memory.", show_default=False)
    ] = None,
    grounded: Annotated[
        bool, typer.Option("--grounded", help="Restrict the answer to verbatim spans of the documents.")
    ] = False,
    expand: Annotated[
        int, typer.Option(min=0, metavar="N", help="Insert this many of the best windows as uncompressed text.")
    ] = 0,
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="P", help="Abstain (answer: not stated) below this confidence.")
    ] = 0.0,
    routing: Routing = "both",
    sources: Annotated[int, typer.Option(min=0, metavar="N", help="How many sources to show.")] = 3,
    no_server: Annotated[
        bool, typer.Option("--no-server", help="Load the model here, even if a server is running on the store.")
    ] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Answer a question from memory.

    The answer is streamed; then come the windows that match the question best, the confidence and the timings. If
    `rcc serve` is running on the store, it answers, and no model is loaded here.

    \b
    Examples:
      rcc ask handbook "When does the ferry leave?"
      rcc ask handbook "Who approves leave?" --document staff.md --max-new-tokens 32
      rcc ask handbook "What is the gate's code?" --grounded
      echo "When does the ferry leave?" | rcc ask handbook --json
    """  # noqa: D301
    settings = Settings.of(context, store)
    given = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "seed": seed,
        "stop": tuple(stop) if stop else None,
        "documents": document or None,
        "max_windows": max_windows,
        "grounded": grounded or None,
        "expand": expand or None,
        "min_confidence": min_confidence or None,
        "routing": routing,
    }
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with Output(as_json) as out:
        text = _question(question)
        with open_asker(settings, collection, no_server=no_server) as asker:
            if as_json:
                out.json(asker.answer(text, sources=sources, **options))
                return
            with out.waiting("Reading the memories …" if asker.is_remote else "Loading the model and the memories …"):
                pieces = asker.stream(text, sources=sources, **options)
                first = next(pieces)
            with closing(pieces):
                try:
                    answer = out.answer(first, pieces)
                finally:
                    out.line()
        show_answer(out, answer)


def search(
    context: typer.Context,
    collection: Collection,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for.", show_default=False)],
    k: Annotated[int, typer.Option("-k", min=1, metavar="N", help="Maximum number of windows to show.")] = 5,
    routing: Routing = "both",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Find the windows that fit a query, the best first.

    With `--routing words` only windows that share words with the query are found, and no model is loaded.

    \b
    Examples:
      rcc search handbook "ferry times" -k 3
      rcc search handbook "ferry times" --routing words
    """  # noqa: D301
    settings = Settings.of(context, store)
    with Output(as_json) as out, settings.open_reader() as reader:
        query = _checked(query)
        sources = [asdict(source) for source in reader.search(collection, query, k, routing=routing)]
        if as_json:
            out.json({"collection": collection, "query": query, "sources": sources})
        elif sources:
            _show_sources(out, sources)
        else:
            out.line(f"No window of {collection} fits the query.")


def _question(given: str | None) -> str:
    """Return the question, from standard input if it is not given."""
    if given is not None and given != "-":
        return _checked(given)
    if given is None and sys.stdin.isatty():
        raise typer.BadParameter("there is none: give it after the collection, or pipe it in", param_hint="'QUESTION'")
    try:
        return typer.get_binary_stream("stdin").read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"The question on standard input is not UTF-8: {error}.") from error


def _checked(question: str) -> str:
    """Return a question that came as an argument, if its bytes are text."""
    try:
        question.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"What is asked is not UTF-8: there is a byte 0x{ord(question[error.start]) & 0xFF:02x} at position "
            f"{error.start}. Give it as UTF-8."
        ) from None
    return question


def show_answer(out: Output, answer: dict[str, Any]) -> None:
    """Write what there is to an answer beside its text: sources, where it stands, what it took.

    Args:
        out: Where to write.
        answer: The answer, as `Answer.to_dict` returns it.
    """
    if answer["sources"]:
        out.line()
        _show_sources(out, answer["sources"])
    out.line()
    for span in answer["spans"]:
        out.line(f"Quoted from {span['document']}, characters {span['start']}-{span['end']}.")
    if answer["stated"] and not answer["supported"]:
        out.line("No passage in memory supports this answer.")
    if answer["confidence"] is not None:
        out.line(f"Confidence that the documents say this: {answer['confidence']:.2f}")
    usage, timings = answer["usage"], answer["timings"]
    out.line()
    out.line(
        f"{counted(usage['answer_tokens'], 'token')} ({answer['finish_reason']}) from {usage['windows']:,} of "
        f"{counted(usage['windows_in_collection'], 'window')}: {counted(usage['source_tokens'], 'source token')} in "
        f"{counted(usage['memory_slots'], 'slot')}, question {counted(usage['question_tokens'], 'token')}",
        style="dim",
    )
    out.line(
        f"route {timings['route']:.3f} s, load {timings['load']:.3f} s, first token {timings['first_token']:.3f} s, "
        f"total {timings['total']:.3f} s",
        style="dim",
    )


def _show_sources(out: Output, sources: Sequence[dict[str, Any]]) -> None:
    rows = [
        (
            source["document"],
            f"{source['start']}-{source['end']}",
            source["score"],
            one_line(source["text"], _SHOWN_CHARACTERS),
        )
        for source in sources
    ]
    out.table(("document", "characters", "score", "text"), rows)
