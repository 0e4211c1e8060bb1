"""Tables of an evaluation in Markdown: overall, by kind, by place of the answer, by windows in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rcc_integrations.evaluation.datasets import PLACES, UNANSWERABLE
from rcc_integrations.evaluation.results import Results
from rcc_integrations.evaluation.scores import Judged, Score, judged, ordered, score

#: Families in the tables by kind and by place, and their headings there; memories have their ratio.
_SHOWN = {"full": "full text", "base": "untouched base", "none": "no text", "bm25": "BM25", "vector": "vectors"}

OVERALL = ("condition", "questions", "positions", "exact match", "token F1", "contains", "words", "declined",
           "F1 of all", "F1 ÷ full text")  # fmt: skip


def sets(results: Results) -> list[str]:
    """Return the names of the sets that were asked, in order."""
    return list(dict.fromkeys(question["set"] for question in results.questions))


def overall(results: Results, of: str) -> list[tuple[str, ...]]:
    """Return a row for every condition, under `OVERALL`.

    Means and counts are over answerable questions; unanswerable ones stand under `declined`, and with them under
    `F1 of all`.

    Args:
        results: What was found.
        of: Name of a set.
    """
    by_name = {name: [row for row in judged(results, name) if row.set == of] for name in ordered(results)}
    full = score([row for row in by_name.get("full", []) if row.answerable])
    rows: list[tuple[str, ...]] = []
    for name, all_rows in by_name.items():
        found = score([row for row in all_rows if row.answerable])
        silent = score([row for row in all_rows if not row.answerable])
        everything = score(all_rows)
        rows.append((
            results.conditions[name]["label"],
            str(found.questions) if found else "0",
            f"{everything.positions:.0f}" if everything else "–",
            _count(found, "exact"),
            f"{found.f1:.3f}" if found else "–",
            _count(found, "contains"),
            f"{everything.words:.1f}" if everything else "–",
            f"{silent.contains} of {silent.questions}" if silent else "–",
            f"{everything.f1:.3f}" if everything else "–",
            f"{found.f1 / full.f1:.0%}" if found and full and full.f1 else "–",
        ))  # fmt: skip
    return rows


def by_kind(results: Results, of: str) -> str:
    """Return a table of F1 and contains by kind of question, commonest first, unanswerable last."""
    kinds = [question["kind"] for question in results.questions if question["set"] == of]
    order = sorted(set(kinds), key=lambda kind: (kind == UNANSWERABLE, -kinds.count(kind), kind))
    return _split(results, of, "kind", order, lambda row: row.kind)


def by_place(results: Results, of: str) -> str:
    """Return a table of F1 and contains by the third of its window in which an answer stands."""
    return _split(results, of, "place of the answer", PLACES, lambda row: row.place)


def by_windows(results: Results, of: str) -> str:
    """Return a table by windows in memory at the main ratio; an empty text if only own windows were read."""
    names = [name for name in ordered(results) if results.conditions[name]["family"] == "windows"]
    if not names:
        return ""
    ratio = results.conditions[names[0]]["ratio"]
    rows = []
    for name in [own for own in [f"memory-r{ratio}"] if own in results.conditions] + names:
        wanted = results.conditions[name]["windows"]
        of_set = [row for row in judged(results, name) if row.set == of and row.answerable]
        if found := score(of_set):
            larger = sum(row.windows > wanted for row in of_set) if wanted else 0
            rows.append((
                f"{wanted} in all" if wanted else "own only", f"{found.windows:.1f}", str(found.questions), str(larger),
                _count(found, "exact"), f"{found.f1:.3f}", _count(found, "contains"),
            ))  # fmt: skip
    head = ("windows in memory", "mean", "questions", "of larger documents", "exact match", "token F1", "contains")
    return markdown(head, rows)


def by_ranker(results: Results, of: str) -> str:
    """Return a table of what was found and answered in the collection of all documents; empty if that was not run."""
    rows = []
    for name in ordered(results):
        record = results.conditions[name]
        if record["family"] != "collection":
            continue
        made = [results.conditions[name]["predictions"][str(number)] for number, question in
                enumerate(results.questions) if question["set"] == of
                and str(number) in results.conditions[name]["predictions"]]  # fmt: skip
        ranks = [each["rank"] for each in made if each.get("rank") is not None]
        of_set = [row for row in judged(results, name) if row.set == of and row.answerable]
        if summed := score(of_set):
            recalls = [
                f"{sum(rank <= most for rank in ranks) / len(ranks):.2f}" if ranks else "–" for most in (1, 3, 8)
            ]
            rows.append((record["label"], str(len(ranks)), *recalls, str(summed.questions), _count(summed, "exact"),
                         f"{summed.f1:.3f}", _count(summed, "contains")))  # fmt: skip
    head = ("windows found by", "with a known window", "recall @1", "@3", "@8", "questions", "exact match", "token F1",
            "contains")  # fmt: skip
    return markdown(head, rows) if rows else ""


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, all columns but the first set to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _split(results: Results, of: str, title: str, parts: Sequence[str], part: Callable[[Judged], str | None]) -> str:
    shown = [name for name in ordered(results) if results.conditions[name]["family"] in ("memory", *_SHOWN)]
    rows_of = {name: [row for row in judged(results, name) if row.set == of] for name in shown}
    asked = {
        name: {each: [row for row in rows if part(row) == each] for each in parts} for name, rows in rows_of.items()
    }
    rows = []
    for each in parts:
        most = max((len(asked[name][each]) for name in shown), default=0)
        if most:
            rows.append((each, str(most), *(_cell(score(asked[name][each]), most) for name in shown)))
    heads = [
        _SHOWN.get(results.conditions[name]["family"], f"ratio {results.conditions[name]['ratio']}") for name in shown
    ]
    return markdown((title, "questions", *heads), rows) if rows else ""


def _cell(found: Score | None, most: int) -> str:
    if found is None:
        return "–"
    fewer = f" of {found.questions}" if found.questions != most else ""
    return f"{found.contains}{fewer}, {found.f1:.2f}"


def _count(found: Score | None, name: str) -> str:
    if found is None:
        return "–"
    number = getattr(found, name)
    return f"{number} ({number / found.questions:.0%})"
