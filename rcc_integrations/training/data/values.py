"""Values of composed documents: people, places, times, prices and words of many types, by split."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from random import Random
from typing import Any, Literal

import xxhash
import yaml

from rcc_integrations.errors import DataError

Split = Literal["train", "validation"]

#: Types with few values, which no split can do without.
_CLOSED = ("weekday", "month", "season", "count", "direction", "time", "percent", "decimal", "year")

#: Types made of parts that belong to the split themselves.
_COMPOUND = ("person", "place", "street", "building", "company", "email")


def split_of(value: str) -> Split:
    """Return which split a value belongs to: an eighth of all, chosen by their hash, is for validation."""
    return "validation" if xxhash.xxh64_intdigest(value.encode()) % 8 == 0 else "train"


class Person(str):
    """A full name, with the attributes `first` and `last`."""

    @property
    def first(self) -> str:
        """First name."""
        return self.partition(" ")[0]

    @property
    def last(self) -> str:
        """Surname."""
        return self.rpartition(" ")[2]


class Values:
    """Draws values of named types.

    Args:
        split: Values of the two splits have nothing in common, but for closed sets such as weekdays and for numbers.
        without: Values that are never drawn, in lower case.
    """

    def __init__(self, split: Split, without: frozenset[str] = frozenset()) -> None:
        self._split = split
        self._without = without

    def draw(self, kind: Any, rng: Random) -> str:
        """Draw a value.

        Args:
            kind: Name of a type, a list of words of one's own, or `{"number": [low, high], "step": n}`.
            rng: Source of chance.

        Raises:
            DataError: If there is no such type, or nothing of it that may be drawn.
        """
        if isinstance(kind, list):
            return str(rng.choice(self.allowed(kind)))
        if isinstance(kind, dict):
            low, high = kind["number"]
            return f"{rng.randrange(low, high + 1, kind.get('step', 1))}"
        maker = getattr(self, f"_{kind}", None)
        if not callable(maker) and kind not in words():
            raise DataError(f"There is no type of value {kind!r}.")
        for _ in range(200):
            value: str = maker(rng) if callable(maker) else rng.choice(words()[kind])
            exempt = kind in _CLOSED or kind in _COMPOUND
            if exempt or (split_of(value) == self._split and value.lower() not in self._without):
                return value
        raise DataError(f"The {self._split} split has no value of type {kind!r}.")

    def allowed(self, values: list[str]) -> list[str]:
        """Return those of a list of words that may be drawn.

        Args:
            values: A scenario's own list.

        Raises:
            DataError: If none may.
        """
        found = [value for value in values if value.lower() not in self._without]
        if not found:
            raise DataError(f"The {self._split} split may draw none of {', '.join(values)}.")
        return found

    def _surname(self, rng: Random) -> str:
        return rng.choice(words()["surname_start"]) + rng.choice(words()["surname_end"])

    def _person(self, rng: Random) -> str:
        return Person(f"{self.draw('firstname', rng)} {self.draw('surname', rng)}")

    def _town(self, rng: Random) -> str:
        return _word("place_start", rng) + _word("place_end", rng)

    def _place(self, rng: Random) -> str:
        name = self.draw("town", rng)
        return rng.choice((name,) * 8 + (f"{name} {rng.choice(('Cross', 'Bay', 'Green', 'Point', 'Island'))}",))

    def _street(self, rng: Random) -> str:
        return f"{rng.choice((self.draw('surname', rng), self.draw('town', rng)))} {_word('street_end', rng)}"

    def _building(self, rng: Random) -> str:
        return f"{rng.choice((self.draw('surname', rng), self.draw('place', rng)))} {_word('building_end', rng)}"

    def _company(self, rng: Random) -> str:
        return f"{self.draw('surname', rng)} {_word('company_end', rng)}"

    def _ship(self, rng: Random) -> str:
        return f"{_word('ship_start', rng)} {_word('ship_end', rng)}"

    def _brand(self, rng: Random) -> str:
        name = _word("brand_start", rng) + _word("brand_end", rng)
        return rng.choice((name, name, f"{name} {rng.randrange(2, 9) * 100}"))

    def _room(self, rng: Random) -> str:
        return f"room {rng.randrange(1, 420)}{rng.choice(('', '', 'A', 'B', 'C'))}"

    def _time(self, rng: Random) -> str:
        hour, minute = rng.randrange(5, 24), rng.choice((0, 5, 10, 15, 20, 25, 30, 40, 45, 50, rng.randrange(60)))
        plain = f"{hour}:{minute:02}"
        return rng.choice((plain, plain, f"{(hour - 1) % 12 + 1}:{minute:02} {'a.m.' if hour < 12 else 'p.m.'}"))

    def _year(self, rng: Random) -> str:
        return f"{rng.randrange(1650, 2030)}"

    def _daymonth(self, rng: Random) -> str:
        day, month = rng.randrange(1, 29), _word("month", rng)
        return rng.choice((f"{day} {month}", f"{day} {month}", f"{month} {day}"))

    def _date(self, rng: Random) -> str:
        day, month, year = rng.randrange(1, 29), _word("month", rng), rng.randrange(1750, 2030)
        return rng.choice((f"{day} {month} {year}", f"{day} {month} {year}", f"{month} {day}, {year}"))

    def _money(self, rng: Random) -> str:
        whole = rng.choice((rng.randrange(2, 100), rng.randrange(100, 1000), rng.randrange(2, 90) * 50))
        cents = rng.choice(("", "", f".{rng.randrange(5, 100, 5):02}")) if whole < 100 else ""
        plain = f"{whole:,}{cents}"
        return rng.choice((f"{plain} {_word('money_unit', rng)}", f"{_word('money_sign', rng)}{plain}"))

    def _percent(self, rng: Random) -> str:
        return f"{rng.randrange(2, 99)} {rng.choice(('percent', 'per cent'))}"

    def _decimal(self, rng: Random) -> str:
        return f"{rng.randrange(1, 90)}.{rng.randrange(1, 10)}"

    def _code(self, rng: Random) -> str:
        letters = "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXZ") for _ in range(rng.randrange(1, 4)))
        return f"{letters}{rng.choice(('-', '', '-', '/'))}{rng.randrange(10, 10000)}"

    def _phone(self, rng: Random) -> str:
        return f"0{rng.randrange(10, 999)} {rng.randrange(100, 1000)} {rng.randrange(1000, 10000)}"

    def _email(self, rng: Random) -> str:
        where = f"{self.draw('town', rng).lower()}.{rng.choice(('example', 'test'))}"
        return f"{rng.choice((self.draw('surname', rng).lower(), 'office', 'info', 'post'))}@{where}"


@cache
def words() -> dict[str, list[str]]:
    """Return the word lists of `values.yaml`."""
    text = files(__package__).joinpath("values.yaml").read_text(encoding="utf-8")
    found: dict[str, list[str]] = yaml.safe_load(text)
    return found


def _word(kind: str, rng: Random) -> str:
    return rng.choice(words()[kind])
