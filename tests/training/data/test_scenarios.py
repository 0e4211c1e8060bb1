"""Every scenario file is sound, and the two splits have nothing in common."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

import rcc_integrations.training
from rcc_integrations.errors import DataError
from rcc_integrations.training.data.scenarios import _scenario, fill, kept_back, scenarios
from rcc_integrations.training.data.styles import STYLES
from rcc_integrations.training.data.values import Person, Values, split_of, words

FOLDER = Path(rcc_integrations.training.__file__).parent / "scenarios"
FILES = sorted(FOLDER.glob("*/*.yaml"))
KINDS = {"fact", "number", "name", "date", "why", "negation", "list"}
FIELD = re.compile(r"\{([a-z_][a-z0-9_]*)(?:\.([a-z]+))?\}")


@cache
def raw(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="ascii"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def types_of(data: dict[str, Any]) -> list[Any]:
    return [kind for types in (data.get("cast"), *(fact.get("vars") for fact in data["facts"]))
            for kind in (types or {}).values()]  # fmt: skip


def test_there_are_many():
    assert len(list((FOLDER / "train").iterdir())) >= 80
    assert len(list((FOLDER / "validation").iterdir())) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_is_sound(path):
    data = raw(path)
    assert set(data) <= {"id", "genre", "styles", "titles", "cast", "facts", "filler"}
    assert data["id"] == path.stem
    assert set(data["styles"]) <= set(STYLES)
    assert len(data["facts"]) >= 8
    for kind in types_of(data):
        if isinstance(kind, list):
            assert len(kind) >= 4 and all(isinstance(value, str) for value in kind), kind
        else:
            assert Values("train").draw(kind, Random(0))
    cast = data.get("cast") or {}
    for text in (*data["titles"], *data["filler"]):
        check_fields(text, cast)
    for fact in data["facts"]:
        check_fact(fact, cast)


def check_fact(fact: dict[str, Any], cast: dict[str, Any]) -> None:
    assert set(fact) <= {"kind", "rows", "vars", "say", "ask", "answer", "also", "row"}
    assert fact["kind"] in KINDS
    own = fact.get("vars") or {}
    assert not set(own) & set(cast)
    said = [*fact["say"], *([fact["row"]] if "row" in fact else [])]
    assert len(fact["say"]) >= 3 and len(fact["ask"]) >= 3
    for text in (*said, *fact["ask"], fact["answer"], *fact.get("also", ())):
        check_fields(text, {**cast, **own})
    asked_for = {name for name, _ in FIELD.findall(fact["answer"])}
    assert asked_for, "an answer without a value"
    for text in said:
        assert fact["answer"].lower() in text.lower()
    for text in fact["ask"]:
        assert not any("{" + name in text for name in asked_for), f"{text!r} gives the answer away"
    if "rows" in fact:
        assert fact["rows"] in (2, 3, 4)
        keys = set(own) - asked_for
        for text in (*fact["say"], *fact["ask"]):
            assert any("{" + key in text for key in keys), f"{text!r} does not say which row"


def check_fields(text: str, names: dict[str, Any]) -> None:
    for name, attribute in FIELD.findall(text):
        assert name in names, text
        assert not attribute or (names[name] == "person" and attribute in ("first", "last")), text
    assert not set("{}") & set(FIELD.sub("", text)), text


def test_no_wording_is_in_both_splits():
    def wordings(split: str) -> set[str]:
        return {text for each in scenarios(split) for fact in each.facts for text in (*fact.say, *fact.ask)}

    assert not {each.id for each in scenarios("train")} & {each.id for each in scenarios("validation")}
    assert not wordings("train") & wordings("validation")


def test_no_word_can_be_drawn_in_both_splits():
    train = Values("train", kept_back())
    own = {split: [kind for path in FILES if path.parent.name == split for kind in types_of(raw(path))
                   if isinstance(kind, list)] for split in ("train", "validation")}  # fmt: skip
    drawable = {value.lower() for kind in own["train"] for value in train.allowed(kind)}
    drawable |= {word.lower() for name, kind in words().items() for word in kind
                 if split_of(word) == "train" and word.lower() not in kept_back() and not parts(name)}  # fmt: skip
    unseen = {value.lower() for kind in own["validation"] for value in kind}
    unseen |= {word.lower() for name, kind in words().items() for word in kind
               if split_of(word) == "validation" and not parts(name)}  # fmt: skip
    assert not drawable & unseen
    # What is left of the shortest list still leaves a choice.
    assert min(len(train.allowed(kind)) for kind in own["train"]) >= 2


def parts(name: str) -> bool:
    """Beginnings and ends of made-up names, and closed sets, are the same in both splits."""
    return name.endswith(("_start", "_end", "_unit", "_sign")) or name in ("weekday", "month", "season", "count",
                                                                          "direction")  # fmt: skip


@pytest.mark.parametrize("kind", ["person", "surname", "place", "ship", "brand", "code", "phone", "date", "animal"])
def test_values_of_the_splits_differ(kind):
    rng = Random(kind)
    drawn = {split: {Values(split).draw(kind, rng) for _ in range(60)} for split in ("train", "validation")}
    assert not drawn["train"] & drawn["validation"]
    if kind == "person":
        for attribute in ("first", "last"):
            assert not {getattr(each, attribute) for each in drawn["train"]} & {
                getattr(each, attribute) for each in drawn["validation"]
            }


def test_values_know_what_they_are_not():
    with pytest.raises(DataError, match="no type of value 'split'"):
        Values("train").draw("split", Random(0))
    with pytest.raises(DataError, match="may draw none of red"):
        Values("train", frozenset({"red"})).draw(["red"], Random(0))
    with pytest.raises(DataError, match="is not a scenario"):
        _scenario("id: x\nfacts: [{kind: fact, colour: red}]", "x.yaml")


@pytest.mark.parametrize(
    ("text", "values", "filled"),
    [
        ("{x} is here. {x} stays. Why? {x}! {x}.", {"x": "oak"}, "Oak is here. Oak stays. Why? Oak! Oak."),
        ("at {t} {x} leaves", {"t": "7 a.m.", "x": "he"}, "At 7 a.m. he leaves"),
        ("Served: {x}, e.g. {x}", {"x": "eel"}, "Served: eel, e.g. eel"),
        ('He said. "{x} it is."', {"x": "red"}, 'He said. "Red it is."'),
        ("A(n) {x} or a(n) {y}", {"x": "hour", "y": "uniform"}, "An hour or a uniform"),
        ("a(n) {x} of a(n) {y}", {"x": "8", "y": "80"}, "An 8 of an 80"),
        ("{p.first} and {p.last}", {"p": Person("Ada Ash")}, "Ada and Ash"),
    ],
)
def test_sentences_begin_with_capitals(text, values, filled):
    assert fill(text, values, sentences=True) == filled


def test_answers_are_filled_as_they_are():
    assert fill("{x}", {"x": "oak"}) == "oak"
