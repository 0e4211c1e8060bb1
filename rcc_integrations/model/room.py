"""`Room`: tensors in which memories, a question and its answer lie one behind the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Room:
    """The tensors that a prefix lies in, with free positions behind it where an answer may be written.

    What is written there is of no use to anybody but the generation that has borrowed the room.

    Args:
        keys: Shape (layers, heads, entries and free positions, head width).
        values: Same shape.
    """

    keys: Tensor
    values: Tensor
    _busy: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @contextmanager
    def borrowed(self, positions: int, dtype: torch.dtype) -> Iterator[bool]:
        """Tell whether the tensors will do and nobody else writes behind the prefix meanwhile.

        Args:
            positions: Of the prefix and everything behind it.
            dtype: Type of what will be written.
        """
        fits = self.keys.shape[-2] >= positions and self.keys.dtype == dtype
        got = fits and self._busy.acquire(blocking=False)
        try:
            yield got
        finally:
            if got:
                self._busy.release()


def spare(entries: int) -> int:
    """Return for how many positions a prefix of so many entries has room behind it.

    A short prefix is copied in no time; what a long one holds ready is a small part of it.
    """
    return entries // 16
