"""The table, the JSON and the chart of what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.performance.rss import FULL_TEXT, MEMORY

_VERDICTS = {True: "yes", False: "no", None: ""}


def write(found: dict[str, Any], docs: Path) -> None:
    """Write performance.json, performance-figures.md and, once there are its points, rss.png.

    Args:
        found: Machine, rows by measure, and what is still to be measured.
        docs: The folder.
    """
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "performance.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    (docs / "performance-figures.md").write_text(_page(found), "utf-8")
    if "rss" in found["measures"]:
        _draw(found["measures"]["rss"]["rows"], docs / "rss.png")


def _page(found: dict[str, Any]) -> str:
    machine, measures = found["machine"], found["measures"]
    lines = [
        "# Performance figures",
        "",
        "Written by `make bench` (`python -m benchmarks.performance`). How each figure is measured, and where the time "
        "goes: [performance](performance.md). The same figures as [JSON](performance.json).",
        "",
    ]
    if not measures:
        return "\n".join([*lines, "Nothing is measured yet.", ""])
    lines += [
        f"RCC-SmolLM2-135M in float32 on {machine['cores']} CPU cores with {machine['memory_gib']} GiB; "
        f"{sum(each['seconds'] for each in measures.values())} s in all.",
        "",
        "| measure | figure | aim | met |",
        "| --- | --- | --- | --- |",
    ]
    for each in measures.values():
        lines += [
            f"| {row['measure']} | {row['shown']} | {row['aim']} | {_VERDICTS[row['met']]} |" for row in each["rows"]
        ]
    if found["unfinished"]:
        lines += ["", f"Still to be measured: {', '.join(found['unfinished'])}."]
    if "rss" in measures:
        lines += ["", "![Peak RSS by length of the context](rss.png)"]
    return "\n".join(lines) + "\n"


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    peaks = [row["value"] for row in rows[1:]]
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, lengths, values, colour in (
        ("memory, ratio 4", MEMORY, peaks[: len(MEMORY)], "#4477aa"),
        ("full text", FULL_TEXT, peaks[len(MEMORY) :], "#ee6677"),
    ):
        axes.plot(lengths, values, marker="o", color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xticks(MEMORY, [f"{length}k" for length in MEMORY])
    axes.set(title="Peak RSS while one question is answered", xlabel="tokens of context", ylabel="MiB", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=110, format="png")
