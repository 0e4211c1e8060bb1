"""What the engines share: which windows of an index they read, and what they say of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters

from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.nodes import window_nodes
from rcc_integrations.llamaindex.source import MemorySource
from rcc_integrations.reader.answer import Answer, Source


@dataclass(frozen=True)
class WindowChoice:
    """The part of an index that an engine reads.

    Args:
        index: The index.
        filters: Only documents whose metadata pass.
        doc_ids: Only these documents.
        node_ids: Only these nodes.
        postprocessors: What chooses among the best windows.
    """

    index: MemorySource
    filters: MetadataFilters | None = None
    doc_ids: list[str] | None = None
    node_ids: Sequence[str] | None = None
    postprocessors: Sequence[Any] = ()

    def documents(self) -> list[str] | None:
        """Return the ids of the documents; `None` for all."""
        return self.index.choose(self.filters, self.doc_ids, self.node_ids)

    def is_empty(self) -> bool:
        """Return whether there is nothing to answer from."""
        return self.index.is_empty or self.documents() == []

    def settings(self) -> dict[str, Any]:
        """Return what a call of the LLM needs to read it."""
        return {"collection": self.index.collection, "documents": self.documents()}

    def processed(self, nodes: list[NodeWithScore], query: QueryBundle) -> list[NodeWithScore]:
        """Return what postprocessors leave of nodes."""
        for each in self.postprocessors:
            nodes = each.postprocess_nodes(nodes, query_bundle=query)
        return nodes

    def narrowed(self, query: QueryBundle, most: int, settings: dict[str, Any]) -> list[NodeWithScore] | None:
        """Let postprocessors choose the windows of a call.

        Args:
            query: The question.
            most: How many windows they choose among.
            settings: Of the call; the windows are noted there.

        Returns:
            The windows that are left; `None` if nobody chooses.
        """
        if not self.postprocessors:
            return None
        reader, collection = self.index.reader, self.index.collection
        sources = reader.search(collection, query.query_str, most, documents=settings["documents"])
        if not sources:
            return None
        nodes = window_nodes(sources)
        keys = dict(zip(map(_place, nodes), _keys(self.index, sources), strict=True))
        left = self.processed(nodes, query)
        settings["windows"] = frozenset(keys[_place(node)] for node in left if _place(node) in keys)
        return left if settings["windows"] else []


def widest(llm: RCCLLM, settings: dict[str, Any], wanted: int | None) -> dict[str, Any]:
    """Return the limit of windows where more are wanted than the model reads on its own."""
    if wanted is None or settings.get("max_windows") is not None or llm.max_windows is not None:
        return {}
    limit = llm.memory.model.config.max_windows
    return {} if limit is None or wanted <= limit else {"max_windows": wanted}


def metadata_of(answers: Sequence[Answer]) -> dict[str, Any]:
    """Return what a response says of its answers."""
    first, last = answers[0], answers[-1]
    return {
        "collection": first.collection,
        "revision": first.revision,
        "finish_reason": last.finish_reason,
        "confidence": last.confidence,
        "supported": last.supported,
        "spans": [asdict(span) for answer in answers for span in answer.spans],
        "support": [asdict(place) for answer in answers for place in answer.support],
        "usage": [asdict(answer.usage) for answer in answers],
        "timings": [asdict(answer.timings) for answer in answers],
    }


def _place(node: NodeWithScore) -> tuple[str, Any, Any]:
    return node.node.node_id, getattr(node.node, "start_char_idx", None), getattr(node.node, "end_char_idx", None)


def _keys(index: MemorySource, sources: Sequence[Source]) -> list[str]:
    """Return the keys of windows."""
    records = index.reader.store.find_documents(index.collection, [source.document for source in sources])
    places = {(id, window.start): window.key for id, record in records.items() for window in record.windows}
    return [places.get((source.document, source.start), "") for source in sources]
