"""What the measures share: timing, texts, and a store that is made once."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any, TypeVar

import psutil

#: Where stores stay between runs; `make clean` removes them.
WORK = Path("build/performance")
QUESTION = "Which statement is described here?"
#: Tokens of one document of the shared store, how many of its documents differ, and its collections' sizes.
PIECE, PIECES, SIZES = 1024, 8, (1, 4, 8, 64)
ONE_TOKEN: dict[str, Any] = {"max_new_tokens": 1, "min_new_tokens": 1}
ALL_WINDOWS = {"max_windows": 10**6}

ResultT = TypeVar("ResultT")


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def best(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of some runs, in seconds."""
    return min(seconds(work) for _ in range(times))


def row(measure: str, value: float, shown: str, aim: str = "", met: bool | None = None) -> dict[str, Any]:
    """Return a line of the table.

    Args:
        measure: What was measured.
        value: The figure.
        shown: The figure as people read it.
        aim: What is wanted, if anything.
        met: Whether it is so.
    """
    return {"measure": measure, "value": round(value, 4), "shown": shown, "aim": aim, "met": met}


def alone(work: Callable[..., ResultT], *arguments: Any) -> ResultT:
    """Do something in a new process of its own, and return what it returns."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def machine() -> dict[str, Any]:
    """Return what is told of the machine: cores and memory."""
    return {"cores": len(os.sched_getaffinity(0)), "memory_gib": round(psutil.virtual_memory().total / 2**30)}


@cache
def default_model() -> Any:
    """Return the default model, in float32 on the CPU."""
    from rcc_integrations import RCCModel

    return RCCModel.default(device="cpu", dtype="float32")


@cache
def token_ids(count: int) -> list[int]:
    """Return so many tokens of the Python language reference."""
    whole = "\n\n".join(topics[name] for name in sorted(topics))
    ids: list[int] = default_model().tokenizer(whole[:400_000], verbose=False)["input_ids"][:count]
    return ids


@contextmanager
def shared_reader(**options: Any) -> Iterator[Any]:
    """Open the shared store, made if there is none.

    Its collections `1k`, `4k`, `8k` and `64k` hold so many documents of 1,024 tokens, of which 8 differ.
    """
    from rcc_integrations import RCCReader

    with RCCReader.open(WORK / "store", model=default_model(), **options) as reader:
        missing = [size for size in SIZES if f"{size}k" not in {record.name for record in reader.collections()}]
        if missing:
            tokenizer, ids = default_model().tokenizer, token_ids(PIECE * PIECES)
            texts = [tokenizer.decode(ids[start : start + PIECE]) for start in range(0, len(ids), PIECE)]
            for size in missing:
                reader.add(f"{size}k", {f"{number:02}": texts[number % PIECES] for number in range(size)}, ratio=4)
        yield reader


def first_documents(thousands: int) -> list[str]:
    """Return the ids of documents of so many thousand tokens (of 1,024) in the largest collection."""
    return [f"{number:02}" for number in range(thousands)]
