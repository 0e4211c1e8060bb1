"""`RCCMemoryStruct`: what LlamaIndex's index store keeps about an `RCCMemoryIndex`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from llama_index.core.data_structs.data_structs import IndexStruct
from llama_index.core.data_structs.registry import INDEX_STRUCT_TYPE_TO_INDEX_STRUCT_CLASS

#: The type's name in LlamaIndex's registries.
STRUCT_TYPE: Any = "rcc_memory"


class NodeIds:
    """Ids of nodes, with their JSON kept beside them: LlamaIndex writes it at every change.

    Args:
        ids: The ids.
    """

    def __init__(self, ids: Iterable[str] = ()) -> None:
        self._ids = dict.fromkeys(ids)
        self._json = "".join(map(_item, self._ids))

    def add(self, id: str) -> None:
        """Add one, if it is not there."""
        if id not in self._ids:
            self._ids[id] = None
            self._json += _item(id)

    def discard(self, id: str) -> None:
        """Remove one, if it is there."""
        if id in self._ids:
            del self._ids[id]
            # Quotes within an id are escaped, so that only a whole id matches.
            self._json = self._json.replace(_item(id), "", 1)

    @property
    def json(self) -> str:
        """All of them as a JSON list."""
        return f"[{self._json[1:]}]"

    def __contains__(self, id: object) -> bool:
        return id in self._ids

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, NodeIds | list) else NotImplemented


def _item(id: str) -> str:
    return "," + json.dumps(id)


@dataclass
class RCCMemoryStruct(IndexStruct):
    """The location of the memory; the memory itself is in the store.

    Args:
        store: The store's folder.
        store_id: The store's random id.
        collection: Name of the collection.
        uid: Random id of the collection; empty until something is added.
        fingerprint: Fingerprint of the model that made its memories.
        nodes: Ids of its nodes.
    """

    store: str = ""
    store_id: str = ""
    collection: str = ""
    uid: str = ""
    fingerprint: str = ""
    nodes: Any = field(default_factory=NodeIds)

    def __post_init__(self) -> None:
        if not isinstance(self.nodes, NodeIds):
            self.nodes = NodeIds(self.nodes)

    @classmethod
    def get_type(cls) -> Any:
        """Return the type's name."""
        return STRUCT_TYPE

    def to_dict(self, encode_json: bool = False) -> dict[str, Any]:
        """Return everything as plain values."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**named, "nodes": list(self.nodes)}

    def to_json(self, **options: Any) -> str:
        """Return everything as JSON; the cost of a change does not grow with the number of nodes."""
        named = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "nodes"}
        return f'{json.dumps(named)[:-1]}, "nodes": {self.nodes.json}}}'


INDEX_STRUCT_TYPE_TO_INDEX_STRUCT_CLASS[STRUCT_TYPE] = RCCMemoryStruct
