"""A cache of prefixes in RAM, bounded by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from rcc_integrations.forking import reset_after_fork

if TYPE_CHECKING:
    from rcc_integrations.model.prefix import Prefix


class PrefixCache:
    """Keeps the prefixes that were used last.

    Args:
        limit: The most bytes of tensors to keep.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[Hashable, Prefix] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        reset_after_fork(self)

    def after_fork(self) -> None:
        """Take a new lock, in the child of a fork."""
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of tensors that are kept now."""
        return self._bytes

    def get(self, key: Hashable) -> Prefix | None:
        """Return a prefix if it is at hand."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Hashable, prefix: Prefix) -> None:
        """Keep a prefix; those not used for longest make room. One that is too large by itself is not kept."""
        with self._lock:
            old = self._held.pop(key, None)
            self._bytes -= old.nbytes if old else 0
            if prefix.nbytes > self.limit:
                return
            self._held[key] = prefix
            self._bytes += prefix.nbytes
            while self._bytes > self.limit:
                _, gone = self._held.popitem(last=False)
                self._bytes -= gone.nbytes
