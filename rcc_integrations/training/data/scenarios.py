"""`Scenario`: a kind of document with a cast of values and facts, read from a data file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import chain
from typing import Any

import yaml

from rcc_integrations.errors import DataError
from rcc_integrations.training.data.values import Split, split_of, words

#: The same in C, where PyYAML was built with it: ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)(?:\.(first|last))?\}")
_ARTICLE = re.compile(r"\b([aA])\(n\) (?=(\S+))")
#: Words that `an` stands in front of, by their sound; what begins with a vowel letter and sounds otherwise comes first.
_AN = re.compile(r"(?!(?:uni|use|usu|ute|uk|eu|one\b|once\b))(?:[aeiou]|hour|honest|heir|8|1[18]\b)", re.IGNORECASE)
#: Where a value begins a sentence.
_BEGIN = re.compile(r"(?:^|(?<!e\.g)(?<!i\.e)(?<!approx)[.!?][\"')]*\s+)[\"'(]*$")


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


def fill(text: str, values: dict[str, str], *, sentences: bool = False) -> str:
    """Put values into a wording: `{name}`, `{name.first}`, `{name.last}`, and `a(n)` in front of one.

    Args:
        text: The wording.
        values: Its values by name.
        sentences: Begin the text, and values that begin a sentence in it, with a capital letter.
    """

    def value(found: re.Match[str]) -> str:
        drawn = values[found[1]]
        shown = str(getattr(drawn, found[2])) if found[2] else drawn
        return _capital(shown) if sentences and _BEGIN.search(text[: found.start()]) else shown

    filled = _ARTICLE.sub(lambda found: f"{found[1]}{'n' if _AN.match(found[2]) else ''} ", _FIELD.sub(value, text))
    return _capital(filled) if sentences else filled


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


@cache
def scenarios(split: Split) -> tuple[Scenario, ...]:
    """Return all scenarios of a split, in the order of their names.

    Raises:
        DataError: If a file is not a scenario.
    """
    folder = files("rcc_integrations.training").joinpath("scenarios", split)
    found = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return tuple(_scenario(item.read_text(encoding="utf-8"), item.name) for item in found)


@cache
def kept_back() -> frozenset[str]:
    """Return the words, in lower case, that training may not draw: validation's own lists and its part of all words."""
    own = (kind for each in scenarios("validation")
           for types in (each.cast, *(fact.vars or {} for fact in each.facts))
           for kind in types.values() if isinstance(kind, list))  # fmt: skip
    common = (word for kind in words().values() for word in kind if split_of(word) == "validation")
    return frozenset(str(word).lower() for word in chain(common, *own))


def _scenario(text: str, where: str) -> Scenario:
    try:
        data: dict[str, Any] = yaml.load(text, Loader=_LOADER)
        facts = [Fact(**{**fact, **{key: tuple(fact[key]) for key in ("say", "ask", "also") if key in fact}})
                 for fact in data.pop("facts")]  # fmt: skip
        lists: dict[str, Any] = {key: tuple(data.pop(key)) for key in ("styles", "titles", "filler")}
        return Scenario(facts=tuple(facts), cast=data.pop("cast", None) or {}, **lists, **data)
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{where} is not a scenario: {error!r}.") from error
