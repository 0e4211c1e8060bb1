"""The documentation: notebooks give the outputs that they show."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from pprint import pformat
from typing import Any

import pytest

from tests.docs.pages import NOTEBOOKS


def run_cell(source: str, scope: dict[str, Any]) -> str:
    """Run a cell as a notebook does; return the value of its last expression as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), scope)
    if last is None:
        return ""
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), scope)
    return "" if value is None else pformat(value, sort_dicts=False, width=79)


@pytest.mark.model
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_give_what_they_show(notebook: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    cells = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 8
    for cell in cells:
        value = run_cell("".join(cell["source"]), scope)
        printed = capsys.readouterr().out
        shown = ["".join(output.get("text") or output["data"]["text/plain"]) for output in cell["outputs"]]
        assert "".join(shown).split() == f"{printed} {value}".split()
