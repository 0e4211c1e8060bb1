"""A whole folder of real documents of mixed kinds through the command line: added, asked, changed, asked again."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from benchmarks.corpus import build
from rcc_integrations.cli.app import app
from tests.tiny import save_tiny_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("real")
    files = build(place / "documents", min_files=55, min_tokens_estimate=100_000)
    save_tiny_model(place / "model", window=256, ratio=8)
    return place, files


def test_a_folder_of_real_documents(folder):
    place, files = folder

    def rcc(*words):
        done = CliRunner().invoke(
            app, ["--store", str(place / "memory"), "--model", str(place / "model"), *words, "--json"]
        )
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    documents = str(place / "documents")
    first = rcc("add", "real", documents)
    assert len(first["added"]) >= 50
    assert first["tokens_compressed"] >= 100_000
    assert {path.rsplit(".", 1)[-1] for path in first["added"]} >= {"md", "txt", "html", "pdf", "docx"}
    assert any("odd/" in json.dumps(skipped) for skipped in first["skipped"])
    (row,) = rcc("ls")["collections"]
    assert row["documents"] == len(first["added"])

    answer = rcc(
        "ask", "real", "How does the try statement handle an exception?", "--max-new-tokens", "8", "--max-windows", "9"
    )
    assert "try" in answer["sources"][0]["text"]
    again = rcc("add", "real", documents)
    assert (len(again["unchanged"]), again["windows_compressed"]) == (len(first["added"]), 0)

    edited = next(path for path in files if path.suffix == ".txt")
    text = edited.read_text(encoding="utf-8")
    middle = text.index(" ", len(text) // 2)
    edited.write_text(f"{text[:middle]} The password of the lighthouse is seagull.{text[middle:]}", encoding="utf-8")
    gone = next(path for path in files if path.suffix == ".pdf")
    gone.unlink()
    changed = rcc("add", "real", documents, "--prune")
    assert changed["replaced"] == [edited.relative_to(documents).as_posix()]
    assert changed["pruned"] == [gone.relative_to(documents).as_posix()]
    assert 1 <= changed["windows_compressed"] <= 3
    answer = rcc(
        "ask", "real", "What is the password of the lighthouse?", "--max-new-tokens", "8", "--max-windows", "9"
    )
    assert "seagull" in answer["sources"][0]["text"]
    assert rcc("verify")["ok"]
