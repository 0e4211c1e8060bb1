from __future__ import annotations

import json
from pathlib import Path

import pytest

from rcc_integrations.training.data.files import write_samples
from rcc_integrations.training.data.sample import Question, Sample
from tests.cli.conftest import TEXTS, Rcc


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "mine.jsonl"
    write_samples(
        path,
        [
            Sample(
                TEXTS["ferry.md"], (Question("When does it leave?", ("7:45",)), Question("What costs 12?", ("it",)))
            ),
            Sample(TEXTS["library.txt"], (Question("When does it open?", ("at nine", "nine")),)),
        ],
    )
    return path


CHOSEN = ("--conditions", "memory", "--conditions", "none", "--ratio", 4)


def test_writes_results_page_and_scores(rcc: Rcc, data: Path, tmp_path: Path) -> None:
    found = rcc.json("eval", "--data", data, *CHOSEN, "--output", tmp_path / "out")
    assert list(found["scores"]) == ["mine"]
    assert [row["condition"] for row in found["scores"]["mine"]] == ["memory, ratio 4", "no text"]
    assert [row["questions"] for row in found["scores"]["mine"]] == ["3", "3"]
    results, page = (Path(path) for path in found["files"][:2])
    kept = json.loads(results.read_text(encoding="utf-8"))
    assert set(kept["conditions"]) == {"memory-r4", "none"} and len(kept["questions"]) == 3
    assert page == tmp_path / "out" / "evaluation.md" and "### mine" in page.read_text(encoding="utf-8")


def test_shows_a_table_and_goes_on(rcc: Rcc, data: Path, tmp_path: Path) -> None:
    line = ("eval", "--data", data, *CHOSEN, "--limit", 2, "--output", tmp_path / "out")
    first = rcc(*line)
    assert first.exit_code == 0, first.output
    assert "1/2 memory-r4: 2 questions" in first.stderr and "memory, ratio 4" in first.stdout
    again = rcc(*line)
    assert "questions" not in again.stderr and again.stdout == first.stdout


def test_composed_questions_beside_a_file(rcc: Rcc, data: Path, tmp_path: Path) -> None:
    found = rcc.json(
        "eval", "--data", data, "--composed", 6, "--conditions", "none", "--output", tmp_path, "--limit", 1
    )  # fmt: skip
    assert list(found["scores"]) == ["mine", "composed"]


def test_the_page_can_be_named(rcc: Rcc, data: Path, tmp_path: Path) -> None:
    page = tmp_path / "docs.md"
    page.write_text("# Other\n", encoding="utf-8")
    line = ("eval", "--data", data, "--conditions", "none", "--output", tmp_path / "out", "--report", page)
    assert "lacks the lines" in rcc.json(*line, code=1)["error"]["message"]
    assert not (tmp_path / "out").exists()
    page.write_text("# Other\n\n<!-- evaluation -->\n<!-- /evaluation -->\n", encoding="utf-8")
    rcc.json(*line)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Other\n") and "### mine" in text


def test_model_behind_the_command(rcc: Rcc, data: Path, tmp_path: Path) -> None:
    error = rcc.json("eval", "--data", data, "--model", tmp_path / "nowhere", "--output", tmp_path, code=1)["error"]
    assert error["type"] == "ModelNotFoundError" and "nowhere" in error["message"]


def test_what_cannot_be_used_is_said(rcc: Rcc, data: Path, tmp_path: Path) -> None:
    to = ("--output", tmp_path / "out")
    assert (
        "Did you mean 'shuffled'"
        in rcc.json("eval", "--data", data, "--conditions", "shufle", *to, code=1)["error"]["message"]
    )
    assert rcc.json("eval", "--data", tmp_path / "none.jsonl", *to, code=1)["error"]["type"] == "DataError"
    other = tmp_path / "other" / "mine.jsonl"
    write_samples(other, [Sample("A boat.", (Question("What?", ("a boat",)),))])
    assert "same name" in rcc.json("eval", "--data", data, "--data", other, *to, code=1)["error"]["message"]
    assert rcc("eval", "--limit", 0).exit_code == 2
