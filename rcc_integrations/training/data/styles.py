"""The forms that a composed document may take: prose, letter, minutes, chat, table and others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from rcc_integrations.training.data.values import Values


@dataclass(frozen=True)
class Line:
    """A statement.

    Args:
        sentence: One or two sentences.
        row: The statement as a line of a table; empty if it has no such form.
    """

    sentence: str
    row: str = ""


def render(style: str, title: str, lines: list[Line], values: Values, rng: Random) -> str:
    """Write statements as a document of a style.

    Args:
        style: A name out of `STYLES`.
        title: May be empty.
        lines: What is said, in order.
        values: For names of people who write or speak.
        rng: Source of chance.
    """
    body = STYLES[style](lines, values, rng)
    if not title:
        return body
    heading = rng.choice((title, title, title.upper(), f"# {title}", f"{title}\n{'=' * len(title)}"))
    return f"{heading}{rng.choice((chr(10), chr(10) * 2))}{body}"


def _prose(lines: list[Line], _: Values, rng: Random) -> str:
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if paragraphs[-1] and rng.random() < 0.25:
            paragraphs.append([])
        paragraphs[-1].append(line.sentence)
    return "\n\n".join(" ".join(paragraph) for paragraph in paragraphs)


def _letter(lines: list[Line], values: Values, rng: Random) -> str:
    to, by = values.draw("person", rng), values.draw("person", rng)
    name = to if rng.random() < 0.5 else to.partition(" ")[0]
    opening = rng.choice((f"Dear {name},", f"Dear {name},", f"Hello {name},", f"To {to}"))
    closing = rng.choice(("Yours sincerely", "With best wishes", "Yours", "Kind regards", "Love"))
    return f"{opening}\n\n{_prose(lines, values, rng)}\n\n{closing},\n{by}"


def _minutes(lines: list[Line], _: Values, rng: Random) -> str:
    form = rng.choice(("{}. {}", "{}) {}", "Item {}. {}"))
    return "\n".join(form.format(number, line.sentence) for number, line in enumerate(lines, 1))


def _manual(lines: list[Line], values: Values, rng: Random) -> str:
    heads = rng.sample(
        ("General", "Before you begin", "Use", "Details", "Care", "Notes", "Further points", "Limits"), 4
    )
    size = max(1, -(-len(lines) // rng.randint(1, 4)))
    parts = [lines[at : at + size] for at in range(0, len(lines), size)]
    return "\n\n".join(f"{head}\n{_prose(part, values, rng)}" for head, part in zip(heads, parts, strict=False))


def _chat(lines: list[Line], values: Values, rng: Random) -> str:
    speakers = [values.draw("firstname", rng) for _ in range(rng.randint(2, 3))]
    form = rng.choice(("{}: {}", "<{}> {}", "[{}] {}"))
    return "\n".join(form.format(rng.choice(speakers), line.sentence) for line in lines)


def _notice(lines: list[Line], _: Values, rng: Random) -> str:
    return rng.choice(("\n", "\n\n")).join(line.sentence for line in lines)


def _bullets(lines: list[Line], _: Values, rng: Random) -> str:
    mark = rng.choice(("-", "*", "+"))
    return "\n".join(f"{mark} {line.row if line.row and rng.random() < 0.3 else line.sentence}" for line in lines)


def _table(lines: list[Line], values: Values, rng: Random) -> str:
    rows = [line.row for line in lines if line.row]
    rest = [line for line in lines if not line.row]
    if rng.random() < 0.4:
        rows = [f"| {row.replace(': ', ' | ', 1)} |" for row in rows]
    parts = ["\n".join(rows), _prose(rest, values, rng) if rest else ""]
    return "\n\n".join(part for part in rng.sample(parts, 2) if part)


def _report(lines: list[Line], values: Values, rng: Random) -> str:
    size = max(1, -(-len(lines) // rng.randint(1, 4)))
    parts = [lines[at : at + size] for at in range(0, len(lines), size)]
    return "\n\n".join(f"{number}. {_prose(part, values, rng)}" for number, part in enumerate(parts, 1))


STYLES: dict[str, Callable[[list[Line], Values, Random], str]] = {
    "prose": _prose,
    "letter": _letter,
    "minutes": _minutes,
    "manual": _manual,
    "chat": _chat,
    "notice": _notice,
    "bullets": _bullets,
    "table": _table,
    "report": _report,
}
