"""`Scenario`: a kind of document with a cast of values and facts, read from a data file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from rcc_integrations.errors import DataError
from rcc_integrations.training.data.values import Split

_FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)(?:\.(first|last))?\}")
_ARTICLE = re.compile(r"\b([aA])\(n\) (?=(\S))")


@dataclass(frozen=True)
class Fact:
    """Something that a document may say.

    Args:
        kind: Kind of the question: fact, number, name, date, why, negation or list.
        say: Wordings of the statement.
        ask: Wordings of the question.
        answer: The answer, which stands literally in every statement.
        also: Other right answers.
        vars: Values of this fact alone, by name: their types.
        rows: How often it may be said, of different things, in one document.
        row: The statement as a line of a table or list.
    """

    kind: str
    say: tuple[str, ...]
    ask: tuple[str, ...]
    answer: str
    also: tuple[str, ...] = ()
    vars: dict[str, Any] | None = None
    rows: int = 1
    row: str = ""


@dataclass(frozen=True)
class Scenario:
    """A kind of document.

    Args:
        id: Its name.
        genre: What kind of text it is.
        styles: Forms it may take.
        titles: Wordings of its title.
        cast: Values of the whole document, by name: their types.
        facts: What it may say.
        filler: Sentences that answer no question.
    """

    id: str
    genre: str
    styles: tuple[str, ...]
    titles: tuple[str, ...]
    cast: dict[str, Any]
    facts: tuple[Fact, ...]
    filler: tuple[str, ...]


def fill(text: str, values: dict[str, str]) -> str:
    """Put values into a wording: `{name}`, `{name.first}`, `{name.last}`, and `a(n)` in front of one."""

    def value(found: re.Match[str]) -> str:
        drawn = values[found[1]]
        return str(getattr(drawn, found[2])) if found[2] else drawn

    return _ARTICLE.sub(
        lambda found: f"{found[1]}{'n' if found[2].lower() in 'aeiou' else ''} ", _FIELD.sub(value, text)
    )


@cache
def scenarios(split: Split) -> tuple[Scenario, ...]:
    """Return all scenarios of a split, in the order of their names.

    Raises:
        DataError: If a file is not a scenario.
    """
    folder = files("rcc_integrations.training").joinpath("scenarios", split)
    found = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return tuple(_scenario(item.read_text(encoding="utf-8"), item.name) for item in found)


def _scenario(text: str, where: str) -> Scenario:
    try:
        data = yaml.safe_load(text)
        facts = [Fact(**{**fact, **{key: tuple(fact[key]) for key in ("say", "ask", "also") if key in fact}})
                 for fact in data.pop("facts")]  # fmt: skip
        lists = {key: tuple(data.pop(key)) for key in ("styles", "titles", "filler")}
        return Scenario(facts=tuple(facts), cast=data.pop("cast", None) or {}, **lists, **data)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where} is not a scenario: {error!r}.") from error
