from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rcc_integrations.document import Document
from rcc_integrations.files import find_files

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def handbook() -> dict[str, Document]:
    sources, skipped = find_files(EXAMPLES / "data")
    assert skipped == []
    return {source.id: source.read() for source in sources}


def test_the_handbook_holds_ten_short_documents_of_mixed_kinds(handbook: dict[str, Document]) -> None:
    assert sorted(Path(name).suffix for name in handbook) == sorted(
        [".md"] * 4 + [".txt", ".html"] * 2 + [".pdf", ".docx"]
    )
    for document in handbook.values():
        assert 80 <= len(document.text.split()) <= 250
        assert document.text.isascii()


def test_every_question_is_answered_by_its_document(handbook: dict[str, Document]) -> None:
    questions = json.loads((EXAMPLES / "questions.json").read_text())
    assert len(questions) == 12
    for question in questions:
        assert set(question) == {"question", "answers", "document"}
        assert question["question"].endswith("?")
        assert all(answer in handbook[question["document"]].text for answer in question["answers"])
    assert {question["document"] for question in questions} == set(handbook)


def test_navigation_and_scripts_are_not_read(handbook: dict[str, Document]) -> None:
    assert "Home" not in handbook["school.html"].text
    assert "console" not in handbook["school.html"].text


def test_the_script_makes_the_files_that_are_committed(handbook: dict[str, Document], tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(EXAMPLES / "make_data.py"), str(tmp_path)], check=True)
    for source in find_files(tmp_path)[0]:
        assert source.read().text == handbook[source.id].text
    assert {path.name for path in tmp_path.iterdir()} == {"guesthouse.pdf", "council.docx"}
