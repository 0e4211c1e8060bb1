from __future__ import annotations

import pytest

from rcc_integrations.errors import ConfigError
from rcc_integrations.files.patterns import Exclude, matches, may_hold, split_pattern


def test_a_pattern_is_split_before_its_first_wildcard() -> None:
    assert split_pattern("docs/**/*.md") == ("docs", ("**", "*.md"))
    assert split_pattern("*.md") == (".", ("*.md",))
    assert split_pattern("/a/b/c[12]/x.md") == ("/a/b", ("c[12]", "x.md"))


@pytest.mark.parametrize(
    ("path", "pattern", "fits"),
    [
        ("a.md", "*.md", True),
        ("x/a.md", "*.md", False),
        ("x/a.md", "*/*.md", True),
        ("a.md", "**/*.md", True),
        ("x/y/a.md", "**/*.md", True),
        ("x/y/a.md", "**/**/*.md", True),
        ("x/y/a.md", "x/**", True),
        ("x/y/a.md", "**/y/*", True),
        ("x/y/a.md", "**/x", False),
        ("A.md", "a.md", False),
        ("a1.md", "a[12].md", True),
        (".a.md", "*.md", False),
        (".a.md", ".*", True),
        ("x", "x/**", False),
    ],
)
def test_matching(path: str, pattern: str, fits: bool) -> None:
    assert matches(path.split("/"), pattern.split("/")) is fits


@pytest.mark.parametrize(
    ("folder", "pattern", "may"),
    [
        ("x", "*.md", False),
        ("x", "*/*.md", True),
        ("y", "x/*.md", False),
        ("a/b/c", "a/**/x", True),
        ("x/y", "x/*", False),
    ],
)
def test_only_folders_that_can_hold_a_match_are_searched(folder: str, pattern: str, may: bool) -> None:
    assert may_hold(folder.split("/"), pattern.split("/")) is may


def test_excludes() -> None:
    exclude = Exclude(["*.log", "drafts/", "docs/old", "a/**/x.md"])
    assert exclude.covers("x/y.log", "docs/x/y.log")
    assert exclude.covers("x/drafts", "docs/x/drafts")
    assert exclude.covers("old", "docs/old")
    assert exclude.covers("docs/old", "src/docs/old")
    assert exclude.covers("a/b/x.md", "r/a/b/x.md")
    assert not exclude.covers("old", "src/old")
    assert not exclude.covers("drafts.md", "docs/drafts.md")


def test_an_empty_exclude_is_refused() -> None:
    with pytest.raises(ConfigError, match="exclude pattern '' names nothing"):
        Exclude([""])


def test_one_exclude_may_be_given_as_a_string() -> None:
    assert Exclude("*.log").covers("a.log", "a.log")
