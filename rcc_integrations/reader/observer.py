"""`StepCallback`: called when each step of an answer starts and ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

#: `route` chooses windows, `load` brings their memories into a prefix, `generate` writes the answer.
Step = Literal["route", "load", "generate"]

#: Called with a step and `None` when the step starts, and with the step and its counts when it ends; the counts are
#: empty if the step failed.
StepCallback = Callable[[Step, "dict[str, int] | None"], None]

_log = logging.getLogger(__name__)


@contextmanager
def observed(callbacks: Sequence[StepCallback | None], step: Step) -> Iterator[list[dict[str, int]]]:
    """Call back before and after a step.

    Args:
        callbacks: One for each request of the batch; `None` for a request that nobody observes.
        step: The step.

    Yields:
        A dict for each request, to be filled with the counts of the step.
    """
    counts: list[dict[str, int]] = [{} for _ in callbacks]
    for callback in callbacks:
        _call(callback, step, None)
    try:
        yield counts
    finally:
        for callback, counted in zip(callbacks, counts, strict=True):
            _call(callback, step, counted)


def _call(callback: StepCallback | None, step: Step, counts: dict[str, int] | None) -> None:
    if callback is not None:
        try:
            callback(step, counts)
        except Exception:
            # A faulty observer must not spoil the answer.
            _log.exception("A step callback failed at %s.", step)
