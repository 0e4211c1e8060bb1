"""`RoutingIndices`: the routing index of each collection, completed from its memories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cachetools import LRUCache

from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.memory.records import CollectionRecord, WindowRecord
from rcc_integrations.memory.routing_index import RoutingIndex
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.compatibility import ratio_of

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.model.routing_head import RoutingHead

#: Indices that are held open at once.
_HELD = 16
#: An index is written anew when so many times more windows are in it than in its collection.
_STALE = 2


class RoutingIndices:
    """Keeps the routing indices of collections; codes are in the folder of their store, or in RAM if it is read-only.

    Args:
        model: Returns the model, loaded when it is first needed.
    """

    def __init__(self, model: Callable[[], RCCModel]) -> None:
        self._model = model
        self._lock = ForkSafeLock()
        self._open: LRUCache[tuple[str, str], RoutingIndex] = LRUCache(_HELD)

    def head(self, record: CollectionRecord) -> RoutingHead | None:
        """Return what makes the codes of a collection's memories; `None` if the model has nothing that does."""
        return self._model().routing_head(ratio_of(record))

    def complete(
        self, store: MemoryStore, record: CollectionRecord, windows: Sequence[WindowRecord]
    ) -> RoutingIndex | None:
        """Return a collection's index, with the codes of some windows made from their memories where it lacks them.

        Args:
            store: Where the collection is.
            record: The collection.
            windows: Windows of it.

        Returns:
            The index; `None` if the model has no routing head for these memories.

        Raises:
            BlobsMissingError: A memory is not in the store (any more).
            CorruptBlobError: A memory is not what was stored.
            StoreError: The index cannot be written.
        """
        head = self.head(record)
        if head is None:
            return None
        with self._lock:
            index = self._index(store, record, head)
            index.refresh()
            missing = index.missing([window.key for window in windows])
            if missing and index.writable and store.read_only:
                in_ram = RoutingIndex(None, head.id, head.width)
                in_ram.add(index.contents())
                self._open[record.uid, head.id] = index = in_ram
            if missing:
                from rcc_integrations.reader.window_codes import read_codes

                by_key = {window.key: window for window in windows}
                wanted = [by_key[key] for key in missing]
                for codes in read_codes(store, self._model(), head, wanted, ratio_of(record)):
                    index.add(codes)
            elif len(index) > _STALE * max(record.windows, _HELD) and not store.read_only:
                index.compact({window.key for document in store.documents(record.name)
                               for window in document.windows})  # fmt: skip
            return index

    def _index(self, store: MemoryStore, record: CollectionRecord, head: RoutingHead) -> RoutingIndex:
        key = (record.uid, head.id)
        if key not in self._open:
            self._open[key] = RoutingIndex(store.routing_folder(record.uid), head.id, head.width)
        return self._open[key]
