"""Metadata filters in the form that LangChain's vector stores share."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from rcc_integrations.errors import ConfigError

_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$in": lambda value, wanted: value in wanted,
    "$nin": lambda value, wanted: value not in wanted,
    "$contains": lambda value, wanted: wanted in value,
}
_MISSING = object()


def passes(filter: Any, metadata: Mapping[str, Any]) -> bool:
    """Return whether metadata pass a filter.

    Args:
        filter: `{"kind": "rule", "year": {"$gte": 2020}}`: every key must fit. `$and`, `$or` (lists) and `$not`
            combine; `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$contains` and `$exists` compare. A
            function of the metadata does as well. `None` lets everything pass.
        metadata: The metadata.

    Raises:
        ConfigError: If it is of no such form, or a comparison cannot be made.
    """
    if filter is None:
        return True
    if callable(filter):
        return bool(filter(dict(metadata)))
    if not isinstance(filter, Mapping):
        raise ConfigError(f"filter must be a dict such as {{'kind': 'rule'}}, or a function; it is {filter!r:.120}.")
    return all(_fits(name, wanted, metadata) for name, wanted in filter.items())


def _fits(name: str, wanted: Any, metadata: Mapping[str, Any]) -> bool:
    if name in ("$and", "$or"):
        if not isinstance(wanted, list | tuple):
            raise ConfigError(f"{name} takes a list of filters; it was given {wanted!r:.120}.")
        return (all if name == "$and" else any)(passes(each, metadata) for each in wanted)
    if name == "$not":
        return not passes(wanted, metadata)
    value = metadata.get(name, _MISSING)
    if not isinstance(wanted, Mapping):
        return bool(value == wanted)
    return all(_compared(name, how, each, value) for how, each in wanted.items())


def _compared(name: str, how: str, wanted: Any, value: Any) -> bool:
    if how == "$exists":
        return (value is not _MISSING) == bool(wanted)
    if how not in _COMPARE:
        known = ", ".join([*_COMPARE, "$exists", "$and", "$or", "$not"])
        raise ConfigError(f"The filter of {name!r} has {how!r}; there are {known}.")
    if value is _MISSING:
        return how in ("$ne", "$nin")
    try:
        return bool(_COMPARE[how](value, wanted))
    except TypeError as error:
        raise ConfigError(f"The filter {name!r} {how} {wanted!r} cannot be applied to {value!r}: {error}.") from error
