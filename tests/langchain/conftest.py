from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations import RCCReader
from tests.tiny import TEXT

DOCUMENTS = {"ferry.md": TEXT, "isle.md": "The isle of Holm has nine farms. Its lighthouse was built in 1871."}


@pytest.fixture
def reader(tmp_path: Path, model: Any) -> Generator[RCCReader]:
    """A reader over a tiny random model, with a collection `isle`."""
    with RCCReader.open(tmp_path / "store", model=model) as reader:
        reader.add("isle", DOCUMENTS)
        yield reader
