"""The documentation: commands exist, run, and print what it says."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rcc_integrations.cli.app import app
from tests.docs.pages import DOCS, ROOT


def plain(line: str) -> str:
    """A line without scores, which are another model's when the default changes, and without the width of columns."""
    return " ".join(re.sub(r"\b\d+\.\d\d\b", "#", line).split())


@pytest.mark.model
def test_commands_of_the_tutorial_print_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = DOCS / "tutorials" / "command-line.md"
    monkeypatch.chdir(tmp_path)
    printed: list[str] = []
    shown = 0
    for language, block in re.findall(r"^```(sh|text)\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        if language == "text":
            shown += 1
            for line in block.splitlines():
                if not re.search(r"tokens in [\d.]+ s", line):  # the time it took
                    assert plain(line) in [plain(each) for each in printed[-1].splitlines()], printed[-1]
            continue
        output = ""
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[0] == "rcc":
                result = CliRunner().invoke(app, words[1:])
                assert result.exit_code == 0, result.output
                output += result.stdout
            else:
                subprocess.run(["bash", "-ec", line], check=True)
        printed.append(output)
    assert shown == 3
    assert any("150 euros" in output for output in printed)
    assert any("not stated" in output for output in printed)


def test_every_command_of_the_readme_exists() -> None:
    words = set(re.findall(r"^rcc (\w+)|`rcc (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M))
    for command in {first or second for first, second in words}:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command
