"""Peak resident memory against the length of the context, each point in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.performance.common import (
    ALL_WINDOWS,
    ONE_TOKEN,
    PIECE,
    QUESTION,
    alone,
    default_model,
    first_documents,
    row,
    shared_reader,
    token_ids,
)

MEMORY = (1, 2, 4, 8, 16, 32, 64)
#: Beyond, a question takes minutes, and the base has no positions.
FULL_TEXT = (1, 2, 4, 8)


def rss() -> list[dict[str, Any]]:
    """Measure the peak while one question is answered, the model loaded before."""
    points = {
        "memory": {thousands: alone(_peak_memory, thousands) for thousands in MEMORY},
        "full text": {thousands: alone(_peak_full_text, thousands) for thousands in FULL_TEXT},
    }
    growth = {name: found[8] - found[1] for name, found in points.items()}
    ratio = growth["memory"] / growth["full text"]
    listed = [
        row(f"peak RSS with {thousands}k tokens of context as {name}", peak, f"{peak:,.0f} MiB")
        for name, found in points.items()
        for thousands, peak in found.items()
    ]
    text = (
        f"growth of peak RSS from 1k to 8k tokens, memory at ratio 4 ({growth['memory']:,.0f} MiB) ÷ full text "
        f"({growth['full text']:,.0f} MiB)"
    )
    return [row(text, ratio, f"{ratio:.3f}", "≤ 1/6", ratio <= 1 / 6), *listed]


def _peak_memory(thousands: int) -> float:
    model = default_model()
    model.reach = 10**6  # more slots than the decoder has positions: what is measured is room, not the answer
    with shared_reader() as reader:
        _reset()
        reader.ask("64k", QUESTION, documents=first_documents(thousands), **ONE_TOKEN, **ALL_WINDOWS)
        return _peak()


def _peak_full_text(thousands: int) -> float:
    from rcc_integrations.model.options import GenerationOptions

    model = default_model()
    model.reach = 10**6
    asked = [*token_ids(thousands * PIECE), *model.question_ids(QUESTION)]
    _reset()
    model.generate([model.empty_prefix()], [asked], GenerationOptions(**ONE_TOKEN))
    return _peak()


def _reset() -> None:
    """Let the system forget the peak that loading the model reached (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> float:
    """Return the peak since then, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
