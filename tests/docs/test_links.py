"""The documentation: links lead somewhere, every page is in the navigation, every public name in the reference."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, NOTEBOOKS, PAGES, blocks, name_of

#: Pages that the site makes from the code (docs/hooks.py).
GENERATED = {DOCS / "rcc.md"}


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


def test_every_page_is_in_the_navigation() -> None:
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
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
