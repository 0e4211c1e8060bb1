"""Training RCC models: settings, data and the trainer. Needs the extra `train`.

Names are imported on first use; `TrainSettings` needs nothing beyond the base install.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rcc_integrations.errors import MissingExtraError

if TYPE_CHECKING:
    from rcc_integrations.training.data.files import read_samples, write_samples
    from rcc_integrations.training.data.mixture import Mixture
    from rcc_integrations.training.data.sample import Question, Sample
    from rcc_integrations.training.log import Progress
    from rcc_integrations.training.ranking import rank_layers
    from rcc_integrations.training.settings import TrainSettings
    from rcc_integrations.training.trainer import Trainer

_WHERE = {
    "Mixture": "rcc_integrations.training.data.mixture",
    "Progress": "rcc_integrations.training.log",
    "Question": "rcc_integrations.training.data.sample",
    "Sample": "rcc_integrations.training.data.sample",
    "TrainSettings": "rcc_integrations.training.settings",
    "Trainer": "rcc_integrations.training.trainer",
    "rank_layers": "rcc_integrations.training.ranking",
    "read_samples": "rcc_integrations.training.data.files",
    "write_samples": "rcc_integrations.training.data.files",
}

#: Modules of the extra, and the packages that bring them.
_EXTRA = {"accelerate": "accelerate", "yaml": "PyYAML"}

__all__ = [
    "Mixture",
    "Progress",
    "Question",
    "Sample",
    "TrainSettings",
    "Trainer",
    "rank_layers",
    "read_samples",
    "write_samples",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_WHERE[name]), name)
    except ModuleNotFoundError as error:
        if error.name in _EXTRA:
            raise MissingExtraError(_EXTRA[error.name], "train", "Training") from error
        raise
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
