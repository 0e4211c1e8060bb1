"""LlamaIndex's metadata filters, applied to documents before any memory is loaded."""

from __future__ import annotations

from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.utils import build_metadata_filter_fn

from rcc_integrations.errors import ConfigError


def fits(filters: MetadataFilters | None, metadata: dict[str, Any]) -> bool:
    """Tell whether a document's metadata pass the filters.

    Args:
        filters: The filters, nested as deep as one likes; `None` lets everything pass.
        metadata: The metadata.

    Raises:
        ConfigError: If a filter cannot be applied to a value, such as `>` to a text and a number.
    """
    if filters is None or not filters.filters:
        return True
    found = [fits(each, metadata) if isinstance(each, MetadataFilters) else _one(each, metadata)
             for each in filters.filters]  # fmt: skip
    if filters.condition == FilterCondition.OR:
        return any(found)
    return not any(found) if filters.condition == FilterCondition.NOT else all(found)


def _one(filter: MetadataFilter, metadata: dict[str, Any]) -> bool:
    try:
        return bool(build_metadata_filter_fn(lambda _: metadata, MetadataFilters(filters=[filter]))(""))
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The filter {filter.key!r} {filter.operator.value} {filter.value!r} cannot be applied to "
            f"{metadata.get(filter.key)!r}: {error}."
        ) from error
