"""Pages of lists."""

from __future__ import annotations

from typing import Any

from rcc_integrations.server.failures import RequestError


def page(
    items: list[dict[str, Any]], limit: int, order: str, after: str | None = None, before: str | None = None
) -> dict[str, Any]:
    """Return a part of a list.

    Args:
        items: All of them, with `id` and `created_at`.
        limit: The most to return.
        order: `asc` or `desc`, by when they were made.
        after: Begin behind the one of this id.
        before: End in front of the one of this id.

    Raises:
        RequestError: An argument is invalid.
    """
    if not 1 <= limit <= 10000:
        raise RequestError(400, f"limit must be from 1 to 10000; it is {limit}.", param="limit", code="invalid_value")
    if order not in ("asc", "desc"):
        raise RequestError(400, f"order must be asc or desc; it is {order!r}.", param="order", code="invalid_value")
    ordered = sorted(items, key=lambda item: (item["created_at"], item["id"]), reverse=order == "desc")
    ids = [item["id"] for item in ordered]
    first = ids.index(after) + 1 if after in ids else 0
    last = ids.index(before) if before in ids else len(ids)
    chosen = ordered[first:last][:limit]
    return {
        "object": "list", "data": chosen, "first_id": chosen[0]["id"] if chosen else None,
        "last_id": chosen[-1]["id"] if chosen else None, "has_more": first + len(chosen) < last,
    }  # fmt: skip
