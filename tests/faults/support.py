"""What the tests of faults share: processes that start at once and have a model, texts that share windows."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable
from functools import cache
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import torch

from rcc_integrations import RCCModel, RCCReader
from tests.tiny import tiny_model


@cache
def model() -> RCCModel:
    return tiny_model()


def processes() -> ForkServerContext:
    """Return what starts processes from one that has imported everything and has no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.support", "pytest"])
    return context


def start(work: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Start a process that works with one thread."""
    process = processes().Process(target=_single, args=(work, arguments))
    process.start()
    return process


def _single(work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    work(*arguments)


def open_reader(path: Path, **options: Any) -> RCCReader:
    return RCCReader.open(path, model=model(), **options)


def text_of(chance: random.Random, paragraphs: int = 2) -> str:
    """Return a text whose paragraphs, and with them its windows, stand in other texts as well."""
    return "\n\n".join(
        f"Boat {number} sails from the harbour at {number % 12} and comes back in the evening with fish number "
        f"{number * 7} in its nets, if no storm holds it there. Keeper {number} counts what it brought."
        for number in (chance.randrange(8) for _ in range(paragraphs))
    )


# The process that others are forked from makes the model once.
model()
