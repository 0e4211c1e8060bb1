"""Filters over the attributes of files."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from rcc_integrations.server.failures import RequestError

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, given: value in given,
    "nin": lambda value, given: value not in given,
}
_DEEPEST = 8


def passes(filters: Any, attributes: dict[str, Any], depth: int = 0) -> bool:
    """Tell whether a file's attributes pass a filter.

    Args:
        filters: `{"type": "eq", "key": …, "value": …}` and its likes, or `{"type": "and" or "or", "filters": […]}`.
        attributes: The attributes; one that is missing passes `ne` and `nin` alone.
        depth: How deep the filter lies in another.

    Raises:
        RequestError: It is no such filter.
    """
    kind = filters.get("type") if isinstance(filters, dict) else None
    if kind in ("and", "or") and isinstance(filters.get("filters"), list) and depth < _DEEPEST:
        inner = [passes(each, attributes, depth + 1) for each in filters["filters"]]
        return all(inner) if kind == "and" else any(inner)
    if kind not in _COMPARE or not isinstance(filters.get("key"), str) or "value" not in filters:
        raise RequestError(400, f"Invalid filter: {filters!r:.200}.", param="filters", code="invalid_value")
    if filters["key"] not in attributes:
        return kind in ("ne", "nin")
    try:
        return bool(_COMPARE[kind](attributes[filters["key"]], filters["value"]))
    except TypeError:  # text against a number
        return False
