"""JSON values that a store takes in and gives out: strict in both directions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeAlias

from rcc_integrations.errors import ConfigError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

MAX_DEPTH = 32


def check_object(value: Mapping[str, Any], what: str) -> dict[str, JSON]:
    """Return a deep copy of a mapping as plain JSON (tuples become lists).

    Args:
        value: The mapping, for instance a document's metadata.
        what: What to call it in an error.

    Raises:
        ConfigError: Something in it is not JSON: another type, a key that is no string, NaN or infinity, a lone
            surrogate, or nesting deeper than 32.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what} must be a mapping of strings to JSON values, not {type(value).__name__}.")
    copy = _check(value, what, 0)
    assert isinstance(copy, dict)
    return copy


def dumps(value: JSON) -> str:
    """Return compact JSON text; NaN and infinity are refused with ValueError."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def loads(text: str) -> JSON:
    """Parse JSON text.

    Raises:
        ValueError: It is not JSON, holds NaN or infinity or a name twice, or nests too deep.
    """
    try:
        value: JSON = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_twins
        )
    except RecursionError:
        raise ValueError("the value nests too deep") from None
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is beyond all floats")
    return value


def _without_twins(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return value


def _check(value: Any, where: str, depth: int) -> JSON:
    if depth > MAX_DEPTH:
        raise ConfigError(f"{where} nests deeper than {MAX_DEPTH} levels.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return check_text(value, where)
    if isinstance(value, int):
        # SQLite and readers in other languages hold 64 bits.
        if not -(2**63) <= value < 2**63:
            raise ConfigError(f"{where} is an integer beyond 64 bits: store it as a string.")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{where} is {value!r}, which JSON cannot hold: leave it out or use None.")
        return float(value)
    if isinstance(value, list | tuple):
        return [_check(item, f"{where}[{place}]", depth + 1) for place, item in enumerate(value)]
    if isinstance(value, Mapping):
        copy: dict[str, JSON] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{where} has the key {key!r}, which is not a string.")
            copy[check_text(key, f"a key of {where}")] = _check(item, f"{where}[{key!r}]", depth + 1)
        return copy
    raise ConfigError(f"{where} is a {type(value).__name__}, which is not JSON: convert it to a string or a number.")


def check_text(text: str, what: str) -> str:
    """Return a string as plain `str` if it can be written as UTF-8.

    Raises:
        ConfigError: It holds a lone surrogate; the message names the place.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{what} holds a lone surrogate (U+{ord(text[error.start]):04X}) at position {error.start}, which is not "
            "text: read the source with its right encoding, or with errors='replace'."
        ) from None
    return str(text)
