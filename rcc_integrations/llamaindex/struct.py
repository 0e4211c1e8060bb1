"""`RCCMemoryStruct`: what LlamaIndex's index store keeps about an `RCCMemoryIndex`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llama_index.core.data_structs.data_structs import IndexStruct
from llama_index.core.data_structs.registry import INDEX_STRUCT_TYPE_TO_INDEX_STRUCT_CLASS

#: The type's name in LlamaIndex's registries.
STRUCT_TYPE: Any = "rcc_memory"


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
    nodes: list[str] = field(default_factory=list)

    @classmethod
    def get_type(cls) -> Any:
        """Return the type's name."""
        return STRUCT_TYPE


INDEX_STRUCT_TYPE_TO_INDEX_STRUCT_CLASS[STRUCT_TYPE] = RCCMemoryStruct
