"""`RCCMemoryRetriever`: the windows of a collection that match a query best."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.errors import ConfigError
from rcc_integrations.llamaindex.nodes import window_nodes
from rcc_integrations.llamaindex.source import MemorySource
from rcc_integrations.reader.answer import Source
from rcc_integrations.routing.route import Routing


class RCCMemoryRetriever(BaseRetriever):
    """Returns the windows that match a query best, best first.

    Scores are between 0 and 1: the probability that a window is the one asked for or, by words alone, the part of the
    question's words, weighted by their rarity, that it holds.

    Args:
        index: The index.
        similarity_top_k: Maximum number of windows.
        filters: Search only documents whose metadata matches.
        doc_ids: Search only these documents.
        node_ids: Search only these nodes.
        routing: Rank windows by `both` memory and words, by `memory`, or by `words` alone, for which no model is
            loaded.
        **kwargs: Arguments of `BaseRetriever`.

    Raises:
        ConfigError: `similarity_top_k` is not a whole number above 0.
    """

    def __init__(
        self,
        index: MemorySource,
        similarity_top_k: int = 4,
        filters: MetadataFilters | None = None,
        doc_ids: list[str] | None = None,
        node_ids: Sequence[str] | None = None,
        routing: Routing = "both",
        **kwargs: Any,
    ) -> None:
        if not isinstance(similarity_top_k, int) or isinstance(similarity_top_k, bool) or similarity_top_k < 1:
            raise ConfigError(f"similarity_top_k must be a whole number of at least 1; it is {similarity_top_k!r}.")
        self._index, self._filters, self._doc_ids, self._node_ids = index, filters, doc_ids, node_ids
        self.similarity_top_k, self.routing = similarity_top_k, routing
        super().__init__(**kwargs)

    def search(self, question: str) -> list[Source]:
        """Return the windows as the reader's sources."""
        if self._index.is_empty:
            return []
        chosen = self._index.choose(self._filters, self._doc_ids, self._node_ids)
        if chosen is not None and not chosen:
            return []
        reader, collection = self._index.reader, self._index.collection
        return reader.search(collection, question, self.similarity_top_k, documents=chosen, routing=self.routing)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return window_nodes(self.search(query_bundle.query_str))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)
