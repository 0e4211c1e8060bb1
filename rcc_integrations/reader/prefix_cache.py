"""`PrefixCache`: the prefixes that were used last, bounded by bytes."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

from cachetools import LRUCache

from rcc_integrations.forking import ForkSafeLock

if TYPE_CHECKING:
    from rcc_integrations.model.prefix import Prefix


class PrefixCache:
    """Keeps prefixes in RAM; the least recently used ones make room for new ones.

    Args:
        limit: The most bytes of tensors to keep.
    """

    def __init__(self, limit: int) -> None:
        self._held: LRUCache[Hashable, Prefix] = LRUCache(limit, getsizeof=lambda prefix: prefix.nbytes)
        self._lock = ForkSafeLock()

    @property
    def nbytes(self) -> int:
        """Bytes of tensors that are kept now."""
        return int(self._held.currsize)

    def get(self, key: Hashable) -> Prefix | None:
        """Return a prefix if it is kept."""
        with self._lock:
            return self._held.get(key)

    def put(self, key: Hashable, prefix: Prefix) -> None:
        """Keep a prefix. One that is larger than the limit by itself is not kept."""
        with self._lock:
            self._held.pop(key, None)
            if prefix.nbytes <= self._held.maxsize:
                self._held[key] = prefix
