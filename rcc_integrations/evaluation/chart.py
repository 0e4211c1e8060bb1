"""The chart of an evaluation: F1 under every condition, and by the number of windows in memory."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from rcc_integrations.errors import MissingExtraError
from rcc_integrations.evaluation.results import Results
from rcc_integrations.evaluation.scores import judged, ordered, score
from rcc_integrations.evaluation.tables import sets

#: Colours of sets that are told apart without red and green.
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")


def drawable() -> bool:
    """Tell whether charts can be drawn here."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(results: Results, path: Path) -> None:
    """Write the chart as PNG.

    Args:
        results: What was found; at least one condition.
        path: The file.

    Raises:
        MissingExtraError: If matplotlib is not installed.
    """
    if not drawable():
        raise MissingExtraError("matplotlib", "eval", "Drawing a chart")
    from matplotlib.figure import Figure

    names, of = ordered(results), sets(results)
    figure = Figure(figsize=(11, 1.6 + 0.32 * len(names)), layout="constrained")
    bars, lines = figure.subplots(1, 2, width_ratios=(3, 2))
    thick = 0.8 / len(of)
    for number, each in enumerate(of):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [place + (number - (len(of) - 1) / 2) * thick for place in range(len(names))]
        bars.barh(places, [_f1(results, name, each) or 0.0 for name in names], thick, color=colour, label=each)
        points = _by_windows(results, names, each)
        if len(points) > 1:
            lines.plot(*zip(*points, strict=True), marker="o", color=colour, label=each)
        for family, dashes, title in (("full", "--", "full text"), ("none", ":", "no text")):
            if (level := _f1(results, family, each)) is not None:
                lines.axhline(level, color=colour, linestyle=dashes, linewidth=1, label=f"{each}, {title}")
    bars.set_yticks(range(len(names)), [results.conditions[name]["label"] for name in names])
    bars.invert_yaxis()
    bars.set(title="Token F1, answerable questions", xlim=(0, 1))
    lines.set(title="… by windows in memory (mean)", xlabel="windows", ylim=(0, 1))
    for axes in (bars, lines):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x" if axes is bars else "y", alpha=0.3)
        axes.set_axisbelow(True)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=110, format="png")


def _f1(results: Results, name: str, of: str) -> float | None:
    if name not in results.conditions:
        return None
    found = score([row for row in judged(results, name) if row.set == of and row.answerable])
    return found.f1 if found else None


def _by_windows(results: Results, names: list[str], of: str) -> list[tuple[float, float]]:
    many = [name for name in names if results.conditions[name]["family"] == "windows"]
    own = [f"memory-r{results.conditions[name]['ratio']}" for name in many[:1]]
    points = []
    for name in [name for name in own if name in results.conditions] + many:
        found = score([row for row in judged(results, name) if row.set == of and row.answerable])
        if found is not None:
            points.append((found.windows, found.f1))
    return points
