"""Kills and errors at exact I/O calls, and damage to every kind of file.

The long forms, each in one run that prints its counts: `python -m tests.faults.io_points --kills 1000 --errors 200` and
`python -m tests.faults.damage_points --count 10000`, or `python -m pytest --slow tests/faults/test_points.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import damage_points, io_points


@pytest.mark.parametrize(
    ("kills", "errors"),
    [(12, 8), pytest.param(1000, 200, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])],
)
def test_a_store_is_whole_after_a_kill_or_an_error_at_any_io_call(tmp_path: Path, kills: int, errors: int) -> None:
    if io_points.compiled(tmp_path) is None:
        pytest.skip("this needs Linux and a C compiler")
    command = [sys.executable, "-m", "tests.faults.io_points", "--kills", str(kills), "--errors", str(errors)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    result = json.loads(done.stdout)
    assert result["faults"] == [] and done.returncode == 0
    assert sum(result["counts"].values()) == kills + errors


@pytest.mark.parametrize("count", [24, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(14_400)])])
def test_damage_loses_nothing_sound_and_names_the_rest(tmp_path: Path, count: int) -> None:
    result = damage_points.run(count, tmp_path)
    assert result["faults"] == []
    assert result["counts"]["documents that had to be added again"] > 0
