"""Locks that survive a fork: the child gets free ones, or it would wait for threads that it does not have."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable
from types import TracebackType

#: Seconds that a fork waits for work that it must not fall into the middle of.
_PATIENCE = 60.0


class ForkSafeLock:
    """A reentrant lock that is free in the child of a fork.

    Args:
        waits: Let a fork wait until the lock is free: what it guards must not be found half changed in the child.
        reset: Called in the child, for what else has to begin anew there.
    """

    def __init__(self, *, waits: bool = False, reset: Callable[[], None] | None = None) -> None:
        self._inner = threading.RLock()
        self._reset = None if reset is None else weakref.WeakMethod(reset)
        self._waits = waits
        self._waited = False
        _locks.add(self)

    def __enter__(self) -> bool:
        return self._inner.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.release()

    def before_fork(self) -> None:
        """Wait for whoever works, if a fork has to."""
        self._waited = self._waits and self._inner.acquire(timeout=_PATIENCE)

    def after_fork_in_parent(self) -> None:
        """Let others go on."""
        if self._waited:
            self._waited = False
            self._inner.release()

    def after_fork(self) -> None:
        """Begin anew, in the child."""
        self._inner = threading.RLock()
        self._waited = False
        reset = self._reset() if self._reset is not None else None
        if reset is not None:
            reset()


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _before() -> None:
    for lock in list(_locks):
        lock.before_fork()


def _in_parent() -> None:
    for lock in list(_locks):
        lock.after_fork_in_parent()


def _in_child() -> None:
    for lock in list(_locks):
        lock.after_fork()
    torch = sys.modules.get("torch")
    if torch is not None and any(lock._waits for lock in list(_locks)):
        # OpenMP's threads are not there in the child, and it would wait for them.
        with contextlib.suppress(RuntimeError):
            torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
