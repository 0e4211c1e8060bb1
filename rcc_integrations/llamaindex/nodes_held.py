"""`HeldNodes`: what a collection holds as LlamaIndex sees it, with indexes over it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, MetadataFilters

from rcc_integrations.llamaindex.filters import fits
from rcc_integrations.llamaindex.nodes import Stored, stored
from rcc_integrations.memory.records import DocumentRecord

_MISSING = object()


class HeldNodes:
    """The nodes of one revision of a collection; single changes to it cost the same however many there are.

    Args:
        uid: The collection's random id.
        revision: Its revision.
        records: Its documents, in order.
    """

    def __init__(self, uid: str, revision: int, records: Iterable[DocumentRecord]) -> None:
        self.uid, self.revision = uid, revision
        self._by_document: dict[str, Stored] = {}
        self._by_node: dict[str, str] = {}
        self._by_source: dict[str | None, dict[str, None]] = {}
        self._by_content: dict[str, dict[str, None]] = {}
        self._by_hash: dict[str, dict[str, None]] = {}
        self._by_place: dict[str, dict[str, None]] = {}
        self._order: dict[str, int] = {}
        # By metadata key, by value: made when a filter first asks for the key.
        self._by_value: dict[str, dict[Any, dict[str, None]]] = {}
        for record in records:
            self.put(record)

    def put(self, record: DocumentRecord) -> None:
        """Take a document in, in the place of the one of the same id."""
        if record.id in self._by_document:
            self._unlink(self._by_document[record.id])
        each = stored(record)
        self._by_document[record.id] = each
        self._order[record.id] = record.order
        self._by_node[each.node] = record.id
        for index, key in self._links(each):
            index.setdefault(key, {})[record.id] = None

    def drop(self, document: str) -> None:
        """Take a document out."""
        self._unlink(self._by_document.pop(document))
        del self._order[document]

    def _unlink(self, each: Stored) -> None:
        self._by_node.pop(each.node, None)
        for index, key in self._links(each):
            index[key].pop(each.document, None)
            if not index[key]:
                del index[key]

    def _links(self, each: Stored) -> Iterator[tuple[dict[Any, dict[str, None]], Any]]:
        yield self._by_source, each.source
        yield self._by_content, each.content
        if each.hash is not None:
            yield self._by_hash, each.hash
        if each.place is not None:
            yield self._by_place, each.place
        for name, values in self._by_value.items():
            yield values, _value(each.metadata, name)

    def __iter__(self) -> Iterator[Stored]:
        return iter(self._by_document.values())

    def of_node(self, node: str) -> Stored | None:
        """Return what a node is stored as."""
        document = self._by_node.get(node)
        return None if document is None else self._by_document[document]

    def of_source(self, source: str | None) -> list[Stored]:
        """Return the nodes of a LlamaIndex document."""
        return [self._by_document[id] for id in self._by_source.get(source, ())]

    def sources(self) -> list[str]:
        """Return the ids of all LlamaIndex documents."""
        return [source for source in self._by_source if source is not None]

    def of_content(self, content: str) -> list[Stored]:
        """Return the nodes with a text and lasting metadata."""
        return [self._by_document[id] for id in self._by_content.get(content, ())]

    def of_hash(self, hash: str) -> list[Stored]:
        """Return the nodes of documents that had a hash of LlamaIndex."""
        return [self._by_document[id] for id in self._by_hash.get(hash, ())]

    def of_place(self, place: str) -> list[Stored]:
        """Return the nodes that were read from a file, or a page of it."""
        return [self._by_document[id] for id in self._by_place.get(place, ())]

    def passing(self, filters: MetadataFilters | None, among: Iterable[Stored] | None = None) -> list[str]:
        """Return ids of the documents whose metadata pass filters, in order.

        Every filter is applied once to each value that its key has, not to each document.

        Args:
            filters: The filters; `None` lets everything pass.
            among: Choose among these; all if not given.
        """
        there = set(self._by_document) if among is None else {each.document for each in among}
        return sorted(there & self._passing(filters), key=self._order.__getitem__)

    def _passing(self, filters: MetadataFilters | None) -> set[str]:
        if filters is None or not filters.filters:
            return set(self._by_document)
        found: list[set[str]] = []
        for each in filters.filters:
            if isinstance(each, MetadataFilters):
                found.append(self._passing(each))
                continue
            chosen: set[str] = set()
            for value, documents in self._values(each.key).items():
                metadata = {} if value is _MISSING else {each.key: json.loads(value)}
                if fits(MetadataFilters(filters=[each]), metadata):
                    chosen |= documents.keys()
            found.append(chosen)
        if filters.condition == FilterCondition.OR:
            return set[str]().union(*found)
        if filters.condition == FilterCondition.NOT:
            return set(self._by_document).difference(*found)
        return set(self._by_document).intersection(*found)

    def _values(self, name: str) -> dict[Any, dict[str, None]]:
        if name not in self._by_value:
            values: dict[Any, dict[str, None]] = {}
            for each in self._by_document.values():
                values.setdefault(_value(each.metadata, name), {})[each.document] = None
            self._by_value[name] = values
        return self._by_value[name]


def _value(metadata: dict[str, Any], name: str) -> Any:
    return json.dumps(metadata[name], sort_keys=True) if name in metadata else _MISSING
