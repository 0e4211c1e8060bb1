from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.tiny import save_tiny_model, tiny_model


def pytest_configure() -> None:
    # Processes side by side share the cores; more threads than cores would wait for each other.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run tests marked slow")
    parser.addoption("--gpu", action="store_true", help="run tests marked gpu")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    skips = {}
    if not config.getoption("--slow"):
        skips["slow"] = pytest.mark.skip(reason="slow: run with --slow")
    if not config.getoption("--gpu"):
        skips["gpu"] = pytest.mark.skip(reason="needs a GPU: run with --gpu")
    elif not torch.cuda.is_available():
        skips["gpu"] = pytest.mark.skip(reason="there is no CUDA device")
    for item in items:
        for name, skip in skips.items():
            if name in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def model():
    """A tiny random model with kv injection."""
    return tiny_model()


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny random model."""
    return save_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def default_model():
    """The model that comes with the package."""
    from rcc_integrations import RCCModel

    return RCCModel.default(device="cpu", dtype="float32")
