"""Documents from strangers end in text or in an error, within the limits of time and memory.

The long form: `python -m tests.hostile.documents --count 500`, or `python -m pytest --slow
tests/hostile/test_documents.py`.
"""

from __future__ import annotations

import pytest

from rcc_integrations.files.parsing import Parser
from tests.hostile import documents


@pytest.mark.parametrize(
    ("count", "most"),
    [(30, 30_000), pytest.param(500, 30_000_000, marks=[pytest.mark.slow, pytest.mark.timeout(14_400)])],
)
def test_documents_of_strangers_end_in_text_or_in_an_error(count: int, most: int) -> None:
    parser = Parser()
    try:
        result = documents.run(count, parser, most)
    finally:
        parser.close()
    assert result["faults"] == [] and sum(result["counts"].values()) == count
    assert sum(number for name, number in result["counts"].items() if name.endswith("refused")) > 0
