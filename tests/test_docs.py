"""The docs: links lead somewhere, code runs and prints what it says, notebooks show what they give."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rcc_integrations.cli.app import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("rcc_integrations/**/*.md")])
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))
#: Pages that the site makes from the code and from files outside docs/ (docs/hooks.py).
GENERATED = {DOCS / "rcc.md"}

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


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str = "python") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def headings(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    lines = re.findall(r"^#+ (.*)", text, re.M)
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)|(?:src|srcset|href)=\"([^\"]+)\"", text):
        link = "".join(target)
        if link.startswith("https://"):
            continue
        file, _, heading = link.partition("#")
        place = (page.parent / file).resolve() if file else page
        assert place.exists() or place in GENERATED, link
        assert not heading or heading in headings(place), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_compiles(page: Path) -> None:
    for block in blocks(page):
        compile(block, str(page), "exec")


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
    for block in code:
        exec(compile(block, name, "exec"), scope)
        printed = capsys.readouterr().out
        at = 0
        for wanted in re.findall(r"  #> (.+)$", block, re.M):
            assert wanted in printed[at:], printed
            at = printed.index(wanted, at) + len(wanted)
        if name == "docs/base.md" and "print(" in block:
            assert "sofa" in printed
    assert (tmp_path / "memory" / "store.json").exists()


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
                    assert line.rstrip() in [each.rstrip() for each in printed[-1].splitlines()], printed[-1]
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


def run_cell(source: str, scope: dict[str, Any]) -> str:
    """Run a cell as a notebook does; return the value of its last expression as a notebook shows it."""
    from pprint import pformat

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


def test_every_command_of_the_readme_exists() -> None:
    words = set(re.findall(r"^rcc (\w+)|`rcc (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M))
    for command in {first or second for first, second in words}:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    for page in [*DOCS.rglob("*.md"), *NOTEBOOKS]:
        assert page.relative_to(DOCS).with_suffix(".md").as_posix() in navigation


@pytest.mark.parametrize("package", ["", ".langchain", ".llamaindex", ".training", ".evaluation"])
def test_every_public_name_is_in_the_reference(package: str) -> None:
    module = importlib.import_module(f"rcc_integrations{package}")
    reference = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.glob("api/*.md"))
    # The errors have a page of their own; the version is no object to describe, `Progress` a record of a bar's state.
    names = set(module.__all__) - {"RCCError", "__version__", "Progress"}
    missing = [
        name for name in sorted(names) if not re.search(rf"^::: rcc_integrations[\w.]*\.{name}$", reference, re.M)
    ]
    assert not missing
