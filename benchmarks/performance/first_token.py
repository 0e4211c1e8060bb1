"""Time to the first token: over stored memory, without documents, and with the text read in full."""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.performance.common import (
    ALL_WINDOWS,
    ONE_TOKEN,
    PIECE,
    QUESTION,
    alone,
    best,
    default_model,
    row,
    seconds,
    shared_reader,
    token_ids,
)

_RUNS = 3


def first_token() -> list[dict[str, Any]]:
    """Measure 8k source tokens against a question without documents, each run in a process of its own."""
    alone(_make_store)
    found = []
    for name, options in (("all windows in memory", ALL_WINDOWS), ("as deployed, 3 windows in memory", {})):
        runs = [alone(_ask, 8, options) for _ in range(_RUNS)]
        for which, most in (("cold", 1.5), ("warm", 1.2)):
            ratio = median(run[which] / run["without"] for run in runs)
            found.append(
                row(
                    f"first token over 8k stored source tokens ÷ question without documents "
                    f"({median(run['without'] for run in runs):.3f} s): {name}, {which}",
                    ratio,
                    f"{ratio:.2f}",
                    f"≤ {most}",
                    ratio <= most,
                )
            )
    return found


def full_text() -> list[dict[str, Any]]:
    """Measure the full text read at question time against memory, 1k, 4k and 8k tokens."""
    found = []
    for thousands in (1, 4, 8):
        ours, prefill = alone(_ask, thousands, ALL_WINDOWS), alone(_read, thousands)
        for which in ("cold", "warm"):
            ratio = prefill / ours[which]
            aim = ("≥ 20", ratio >= 20) if thousands == 8 else ("", None)
            found.append(
                row(
                    f"full text of {thousands}k tokens read ({prefill:.2f} s) ÷ ours, {which}",
                    ratio,
                    f"{ratio:.1f}",
                    *aim,
                )
            )
    return found


def _make_store() -> None:
    with shared_reader():
        pass


def _ask(thousands: int, options: dict[str, Any]) -> dict[str, float]:
    """Return seconds to the first token without documents, and over stored ones the first and further times."""
    from rcc_integrations.model.options import GenerationOptions

    model = default_model()
    model.reach = 10**6  # 8,192 tokens and a question are a few positions more than the decoder has
    asked, text, one = model.question_ids(QUESTION), model.text_prefix(), GenerationOptions(**ONE_TOKEN)
    without = best(lambda: model.generate([text], [asked], one), 5)
    with shared_reader() as reader:
        options = {**ONE_TOKEN, **options}

        def ask() -> float:
            return float(reader.ask(f"{thousands}k", QUESTION, **options).timings.first_token)

        return {"without": without, "cold": ask(), "warm": min(ask() for _ in range(5))}


def _read(thousands: int) -> float:
    """Return seconds to the first token when the decoder reads the whole text."""
    from rcc_integrations.model.options import GenerationOptions

    model = default_model()
    model.reach = 10**6
    text = [*model.token_ids(model.config.prefix_text, special=True), *token_ids(thousands * PIECE)]
    asked, one = model.question_ids(QUESTION), GenerationOptions(**ONE_TOKEN)
    model.generate([model.empty_prefix()], [asked], one)
    return seconds(lambda: model.generate([model.empty_prefix()], [[*text, *asked]], one))
