"""Locks and threads after a fork: the child gets fresh ones, or it would wait for threads that it does not have."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something with locks or threads."""

    def after_fork(self) -> None:
        """Replace locks and threads, in the child."""
        ...


# An owner may also have `before_fork` and `after_fork_in_parent`.
_lock = threading.Lock()
_known: weakref.WeakValueDictionary[int, Forkable] = weakref.WeakValueDictionary()


def reset_after_fork(owner: Forkable) -> None:
    """Have an object's `after_fork` called in every child process that is forked while the object lives."""
    with _lock:
        _known[id(owner)] = owner


def _before() -> None:
    for owner in list(_known.values()):
        if (wait := getattr(owner, "before_fork", None)) is not None:
            wait()


def _parent() -> None:
    for owner in list(_known.values()):
        if (go_on := getattr(owner, "after_fork_in_parent", None)) is not None:
            go_on()


def _reset() -> None:
    global _lock
    _lock = threading.Lock()
    for owner in list(_known.values()):
        owner.after_fork()
    torch = sys.modules.get("torch")
    if torch is not None and _known:
        # OpenMP's threads are not there in the child, and it would wait for them.
        with contextlib.suppress(RuntimeError):
            torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_parent, after_in_child=_reset)
