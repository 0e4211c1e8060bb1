"""Schemas of every kind that users have: what a random walk through their grammar writes always fits them."""

from __future__ import annotations

import enum
import json
import random
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import numpy as np
import pytest
from pydantic import BaseModel, Field, RootModel

from rcc_integrations.chat.schemas import class_schema
from rcc_integrations.errors import ConfigError
from rcc_integrations.model.grammar import Grammar, Guide
from rcc_integrations.model.schema import LARGEST, held_schema, without_repeats
from tests.tiny import tiny_tokenizer


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Mast(BaseModel):
    height: float
    colour: Colour


class Boat(BaseModel):
    """Nested, with enums, maps and sets."""

    masts: list[Mast]
    owner: Mast | None = None
    tags: set[Literal["fast", "old", "new"]]
    sizes: dict[str, int]
    by_deck: dict[int, Mast]
    by_side: dict[Literal["port", "starboard"], int]


class Node(BaseModel):
    name: str = Field(max_length=5)
    children: list[Node] = []
    left: Node | None = None


class Even(BaseModel):
    odd: Odd | None = None


class Odd(BaseModel):
    even: Even | None = None


class Log(BaseModel):
    at: datetime
    day: date
    hour: time
    took: timedelta
    cost: Decimal
    id: UUID
    place: Path
    pair: tuple[int, str]
    anything: Any
    raw: bytes
    share: Annotated[float, Field(ge=0, le=1)]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(gt=0, lt=10)


class Dog(BaseModel):
    kind: Literal["dog"]


class Pet(BaseModel):
    pet: Cat | Dog = Field(discriminator="kind")
    code: str = Field(pattern="^[A-Z]{2}[0-9]{3}$")


Pets = RootModel[list[Pet]]


@pytest.fixture(scope="module")
def guide() -> Guide:
    return Guide(tiny_tokenizer(), 600, [2])


def walk(guide: Guide, schema: dict[str, Any], seed: int) -> str:
    """Write what a model that knows nothing would write."""
    matcher, ids, choose = guide.matcher(Grammar.json_schema(schema)), [], random.Random(seed)
    while not matcher.is_stopped():
        bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        token = int(choose.choice(np.flatnonzero(bits[:600]).tolist()))
        ids.append(token)
        matcher.consume_token(token)
        assert len(ids) < 9000, "it has no end"
    return str(guide._tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("output", [Boat, Node, Even, Log, Pet, Pets], ids=lambda each: each.__name__)
@pytest.mark.parametrize("seed", range(10))
def test_what_is_written_fits_its_class(guide: Guide, output: type[BaseModel], seed: int) -> None:
    output.model_validate_json(walk(guide, class_schema(output), seed))


@pytest.mark.parametrize("seed", range(5))
def test_numbers_end(guide: Guide, seed: int) -> None:
    schema = {"type": "object", "additionalProperties": {"type": ["integer", "number"]}, "minProperties": 3}
    written = json.loads(walk(guide, schema, seed))
    assert 3 <= len(written) <= 8 and all(abs(each) <= LARGEST for each in written.values())
    assert all(len(repr(each)) < 30 for each in written.values())
    high = json.loads(walk(guide, {"type": "integer", "minimum": 10**17}, seed))
    assert high >= 10**17


def test_recursion_has_a_depth(guide: Guide) -> None:
    def depth(node: Any) -> int:
        return 1 + max((depth(child) for child in [*node.get("children", []), *([node["left"]] if node.get("left") else [])]),
                       default=0)  # fmt: skip

    depths = [depth(json.loads(walk(guide, class_schema(Node), seed))) for seed in range(20)]
    assert max(depths) > 1 and max(depths) <= 4


def test_what_has_no_end_or_no_meaning_is_an_error() -> None:
    class Endless(BaseModel):
        next: Endless

    with pytest.raises(ConfigError, match="contains itself"):
        held_schema(Endless.model_json_schema())
    with pytest.raises(ConfigError, match=r"'#/\$defs/Mats', which it does not have; its definitions: Mast"):
        held_schema({"$ref": "#/$defs/Mats", "$defs": {"Mast": {"type": "string"}}})
    with pytest.raises(ConfigError, match="stay within"):
        held_schema({"$ref": "https://example.com/schema.json"})
    with pytest.raises(ConfigError, match="different things of 'type'"):
        held_schema({"allOf": [{"type": "string"}, {"type": "integer"}]})
    wide = {"properties": {f"p{n}": {"$ref": "#/$defs/T"} for n in range(80)}, "type": "object"}
    with pytest.raises(ConfigError, match="5000 parts"):
        held_schema({"$ref": "#/$defs/T", "$defs": {"T": {**wide, "properties": {
            name: {"anyOf": [each] * 80} for name, each in wide["properties"].items()}}}})  # fmt: skip


def test_names_and_data_are_no_keywords(guide: Guide) -> None:
    schema = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "maxLength": 3},
            "$ref": {"type": "integer"},
            "properties": {"type": "array", "items": {"type": "string", "maxLength": 3}},
            "kind": {"const": {"$ref": "#/nowhere", "type": "string"}},
        },
        "required": ["type", "$ref", "properties", "kind"],
    }
    written = json.loads(walk(guide, schema, 1))
    assert set(written) == {"type", "$ref", "properties", "kind"}
    assert written["kind"] == {"$ref": "#/nowhere", "type": "string"} and len(written["type"]) <= 3


def test_parts_of_one_object_are_put_together(guide: Guide) -> None:
    schema = {
        "allOf": [
            {"$ref": "#/$defs/Named"},
            {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
        ],
        "$defs": {"Named": {"type": "object", "properties": {"name": {"const": "x"}}, "required": ["name"]}},
    }
    assert set(json.loads(walk(guide, schema, 1))) == {"name", "n"}


def test_what_comes_twice_is_taken_out() -> None:
    schema = class_schema(Boat)
    assert held_schema(schema).unique and not held_schema(class_schema(Node)).unique
    assert without_repeats({"tags": ["old", "new", "old"]}, schema) == {"tags": ["old", "new"]}
    pairs = {"type": "array", "uniqueItems": True, "minItems": 2, "items": {"type": "integer"}}
    with pytest.raises(ConfigError, match="1 different items"):
        without_repeats([7, 7, 7], pairs)
