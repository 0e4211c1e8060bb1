"""The documentation: code runs, and prints what it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT, blocks

RUN = [
    "README.md",
    "docs/base.md",
    "docs/grounding.md",
    "docs/langchain.md",
    "docs/llamaindex.md",
    "docs/store.md",
    "docs/tutorials/langchain.md",
    "docs/tutorials/llamaindex.md",
    "docs/tutorials/python.md",
]


@pytest.mark.model
@pytest.mark.parametrize("name", RUN)
def test_code_runs_and_prints_what_it_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = blocks(ROOT / name)
    if name == "docs/langchain.md":
        code.insert(0, blocks(ROOT / "README.md")[0])  # it asks a collection that there is
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"__name__": "__main__"}
    compared = 0
    for block in code:
        exec(compile(block, name, "exec"), scope)
        printed = capsys.readouterr().out
        at = 0
        for wanted in re.findall(r"  # prints: (.+)$", block, re.M):
            assert wanted in printed[at:], printed
            at = printed.index(wanted, at) + len(wanted)
            compared += 1
        if name == "docs/base.md" and "print(" in block:
            assert "sofa" in printed
    assert compared >= 3 or not name.startswith(("README", "docs/tutorials/"))
    assert (tmp_path / "memory" / "store.json").exists()
