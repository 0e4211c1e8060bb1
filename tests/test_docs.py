"""The docs: links lead somewhere, code runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("rcc_integrations/**/*.md")])


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)


def headings(page: Path) -> set[str]:
    lines = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", line).strip().lower().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, heading = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        assert not heading or heading in headings(place), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_compiles(page):
    for block in blocks(page):
        compile(block, str(page), "exec")


@pytest.mark.model
@pytest.mark.parametrize(
    "name", ["README.md", "docs/base.md", "docs/langchain.md", "docs/llamaindex.md", "docs/grounding.md"]
)
def test_code_runs(name, tmp_path, default_model):
    code = blocks(ROOT / name)
    if name == "docs/langchain.md":
        code.insert(0, blocks(ROOT / "README.md")[0])  # it asks a collection that there is
    code = "\n".join(code)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "memory" / "store.json").exists()
    if name == "docs/base.md":
        assert "sofa" in done.stdout


def test_every_command_of_the_readme_exists():
    from typer.testing import CliRunner

    from rcc_integrations.cli.app import app

    words = set(re.findall(r"^rcc (\w+)|`rcc (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.M))
    for command in {first or second for first, second in words}:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command
