"""Evaluation: free generation from memory beside its controls, scored, with one table and one chart.

`evaluate` runs conditions over samples; `write_report` turns what it found into Markdown and a chart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rcc_integrations.evaluation.conditions import Condition, conditions_for
    from rcc_integrations.evaluation.report import write_report
    from rcc_integrations.evaluation.results import Results
    from rcc_integrations.evaluation.runner import evaluate

__all__ = ["Condition", "Results", "conditions_for", "evaluate", "write_report"]

_MODULES = {
    "Condition": "conditions",
    "Results": "results",
    "conditions_for": "conditions",
    "evaluate": "runner",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
