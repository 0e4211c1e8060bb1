"""`Watch`: told of the steps of an answer while they are done."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

#: `route` chooses windows, `load` brings their memories into a prefix, `generate` writes the answer.
Step = Literal["route", "load", "generate"]

#: Called with a step and its counts when it is done, with `None` in their place when it begins, with no counts when it
#: failed.
Watch = Callable[[Step, "dict[str, int] | None"], None]

_log = logging.getLogger(__name__)


@contextmanager
def watched(watches: Sequence[Watch | None], step: Step) -> Iterator[list[dict[str, int]]]:
    """Tell of a step around what it does.

    Args:
        watches: Who is told, one a request of the batch.
        step: The step.

    Yields:
        A dict for the counts of every request.
    """
    counts: list[dict[str, int]] = [{} for _ in watches]
    for watch in watches:
        _tell(watch, step, None)
    try:
        yield counts
    finally:
        for watch, found in zip(watches, counts, strict=True):
            _tell(watch, step, found)


def _tell(watch: Watch | None, step: Step, counts: dict[str, int] | None) -> None:
    if watch is not None:
        try:
            watch(step, counts)
        except Exception:
            # One who looks on must not spoil the answer.
            _log.exception("A watch failed at %s.", step)
