"""What shells and pipes do to `rcc`: bytes that are no text, closed streams, readers that leave early."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells of Unix")


def rcc(script: str, store: Path, model: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `rcc` is the command on a store."""
    command = (
        f'rcc() {{ "{sys.executable}" -m rcc_integrations.cli --store "{store}" --model "{model}" --device cpu "$@"; }}'
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RCC_STORE")}
    line = f"set -o pipefail; {command}; {script}"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("option", ["", "--json"])
def test_a_question_that_is_no_text_is_refused(made_store: Path, saved_model: Path, option: str) -> None:
    done = rcc(rf"rcc ask isle $'boat\xff' {option}", made_store, saved_model)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    said = json.loads(done.stdout)["error"]["message"] if option else done.stderr
    assert "not UTF-8" in said and "0xff" in said


def test_closed_streams_and_early_readers_are_no_failures(made_store: Path, saved_model: Path) -> None:
    script = (
        "rcc ls <&- >&-; echo first $?; rcc ls 2>&- >/dev/null; echo second $?; rcc ls | true; echo third $?;"
        " rcc ls --json | true; echo fourth $?; rcc show isle ferry.md --text | head -c 1 >/dev/null; echo fifth $?"
    )
    done = rcc(script, made_store, saved_model)
    assert done.stdout.split() == [
        word for number in ("first", "second", "third", "fourth", "fifth") for word in (number, "0")
    ], (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


def test_usage_errors_are_json_too(made_store: Path, saved_model: Path) -> None:
    done = rcc("rcc ask isle --temperature warm --json what", made_store, saved_model)
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert "temperature" in error["message"] and error["type"] == "BadParameter"
    done = rcc("rcc verify --dry-run", made_store, saved_model)
    assert done.returncode == 2 and "--repair" in done.stderr and not done.stdout
