from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations.training import TrainSettings
from tests.tiny import tiny_base, tiny_tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return the folder of a tiny base of a family."""

    @cache
    def folder(family: str = "llama", **changes: Any) -> Path:
        path = tmp_path_factory.mktemp("base") / family
        tiny_base(family, **{"num_hidden_layers": 4, **changes}).save_pretrained(path)
        tiny_tokenizer().save_pretrained(path)
        return path

    return folder


@pytest.fixture
def settings_for(tiny_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., TrainSettings]:
    """Return settings of a short run on a tiny base, on composed facts alone."""

    def make(family: str = "llama", **changes: Any) -> TrainSettings:
        given: dict[str, Any] = {
            "output": tmp_path / "run",
            "window": 32,
            "ratios": {2: 0.5, 4: 0.5},
            "stages": {"B": 1.0},
            "shares": {"facts": 1.0},
            "steps": 4,
            "batch": 2,
            "max_windows": 4,
            "target_tokens": 96,
            "bank": 8,
            "check_samples": 2,
            "device": "cpu",
        }
        if "start" not in changes:
            given["base"] = str(tiny_folder(family))
        else:
            del given["window"]
        return TrainSettings(**{**given, **changes})

    return make
