"""Writes an evaluation's tables and chart into a Markdown page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rcc_integrations.errors import ConfigError, DataError
from rcc_integrations.evaluation import tables
from rcc_integrations.evaluation.chart import draw, drawable
from rcc_integrations.evaluation.datasets import UNANSWERABLE
from rcc_integrations.evaluation.results import Results
from rcc_integrations.evaluation.scores import judged, score

BEGIN, END = "<!-- evaluation -->", "<!-- /evaluation -->"

_READING = (
    "Means and counts are over answerable questions, counts with their share behind; unanswerable ones stand under "
    "*declined*, and with them under *F1 of all*. *Positions* are the decoder's in front of the question, the prompt's "
    "opening not counted; *words* is the mean length of a prediction, which *contains* favours."
)


def write_report(results: Results, page: Path) -> list[Path]:
    """Write the tables into a page, between its markers, and the chart beside it.

    Args:
        results: The results.
        page: Markdown file; created if it does not exist. The chart has the same name with `.png`.

    Returns:
        The files written: the page, and the chart if matplotlib is installed.

    Raises:
        ConfigError: The page exists but lacks the markers, or cannot be read.
        DataError: No condition was run.
    """
    before, after = check_page(page)
    if not results.conditions:
        raise DataError("No condition was run, so there is nothing to report.")
    page.parent.mkdir(parents=True, exist_ok=True)
    written = [page]
    chart = ""
    if drawable():
        picture = page.with_suffix(".png")
        draw(results, picture)
        written.append(picture)
        chart = f"![Token F1 by condition and by windows in memory]({picture.name})\n\n"
    page.write_text(f"{before}{BEGIN}\n\n{chart}{section(results)}\n\n{END}{after}", encoding="utf-8")
    return written


def section(results: Results) -> str:
    """Return everything that was found as Markdown, without the chart."""
    head = results.header
    model = head["model"]
    parts = [
        f"Base `{model['base']}`, ratio {model['ratio']} (trained: {', '.join(map(str, model['ratios'])) or 'none'}), "
        f"windows of {model['window']} tokens, `{model['injection']}`, {head['dtype']}, "
        f"weights `{head['weights'][:12]}`. "
        f"Greedy, at most {head['max_new_tokens']} new tokens.",
        _READING,
    ]
    for of in tables.sets(results):
        kinds = [question["kind"] for question in results.questions if question["set"] == of]
        documents = {question["document"] for question in results.questions if question["set"] == of}
        silent = kinds.count(UNANSWERABLE)
        point = f"One answerable question is {100 / (len(kinds) - silent):.1f} points. " if silent < len(kinds) else ""
        parts += [
            f"### {of}",
            f"{len(kinds)} questions on {len(documents)} documents, {silent} of them unanswerable. {point}"
            + _int8(results, of),
            tables.markdown(tables.OVERALL, tables.overall(results, of)),
        ]
        details = (
            ("By kind of question (contains, token F1):", tables.by_kind(results, of)),
            ("By place of the answer in its window, where it stands in the text once:", tables.by_place(results, of)),
            (
                "By windows in memory; documents with as many of their own, or more, are left as they are:",
                tables.by_windows(results, of),
            ),
            ("All documents of the set in one collection:", tables.by_ranker(results, of)),
        )
        parts += [text for title, table in details if table for text in (title, table)]
    return "\n\n".join([*parts, *notes(results)])


def notes(results: Results) -> list[str]:
    """Return a sentence for every condition that was skipped or left questions out."""
    found = [f"Skipped `{name}`: {reason}" for name, reason in results.skipped.items()]
    for name, record in results.conditions.items():
        for reason, count in Counter(record["left_out"].values()).items():
            found.append(f"`{name}` left out {count} question{'s' if count > 1 else ''}: {reason}")
    return found


def _int8(results: Results, of: str) -> str:
    """Return how much F1 int8 storage loses."""
    for name, record in results.conditions.items():
        plain = f"memory-r{record['ratio']}"
        if record["family"] == "int8" and plain in results.conditions:
            before, after = (
                score([row for row in judged(results, each) if row.set == of and row.answerable])
                for each in (plain, name)
            )
            if before and after:
                lost = before.f1 - after.f1
                share = f" ({lost / before.f1:+.1%} of it)" if before.f1 else ""
                return (
                    f"Storing memories as int8 takes F1 at ratio {record['ratio']} from {before.f1:.3f} to "
                    f"{after.f1:.3f}, a loss of {100 * lost:.1f} points{share}."
                )
    return ""


def check_page(page: Path) -> tuple[str, str]:
    """Return what stands before and behind the markers of a page, or of the one that will be made.

    Raises:
        ConfigError: If the page is there but lacks the markers, or cannot be read.
    """
    if not page.exists():
        return "# Evaluation\n\n", "\n"
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{page} cannot be read: {error}") from error
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not begun or not ended:
        raise ConfigError(f"{page} lacks the lines {BEGIN} and {END}: put them where the tables belong.")
    return before, after
