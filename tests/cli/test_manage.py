from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rcc_integrations.cli.app import app
from rcc_integrations.memory.store import MemoryStore
from tests.cli.conftest import TEXTS, Rcc, write

COLUMNS = ("collection", "documents", "windows", "tokens", "slots", "ratio", "model", "storage", "revision")


def test_ls(filled: Rcc) -> None:
    record = filled.json("ls")["collections"][0]
    heading, row = filled("ls").stdout.splitlines()
    assert heading.split() == list(COLUMNS)
    wanted = [record[name] for name in ("name", "documents", "windows", "tokens", "slots")]
    assert row.split()[:6] == [*map(str, wanted), "4"] and row.split()[-2:] == ["int8", str(record["revision"])]


def test_a_store_without_collections(rcc: Rcc) -> None:
    MemoryStore.open(rcc.store).close()
    assert "no collections yet" in rcc("ls").stdout
    assert rcc.json("ls")["collections"] == []


@pytest.mark.parametrize(
    "arguments",
    [["ls"], ["show", "isle"], ["rm", "isle", "--yes"], ["mv", "isle", "b"], ["stats"], ["verify"],
     ["verify", "--repair"], ["search", "isle", "x"], ["ask", "isle", "x"]],
)  # fmt: skip
def test_no_store_is_an_error_and_none_is_made(rcc: Rcc, arguments: list[str]) -> None:
    result = rcc(*arguments)
    assert result.exit_code == 1 and result.stderr.startswith("Error: There is no memory store in")
    assert rcc.json(*arguments, code=1)["error"]["type"] == "StoreError"
    assert not rcc.store.exists()


def test_a_foreign_folder_is_left_alone(rcc: Rcc, docs: Path) -> None:
    write(rcc.store, {"mine.txt": "mine"})
    assert rcc.json("ls", code=1)["error"]["type"] == "StoreFormatError"
    assert rcc.json("add", "isle", docs, code=1)["error"]["type"] == "StoreFormatError"
    assert [path.name for path in rcc.store.iterdir()] == ["mine.txt"]


def test_show_a_collection(filled: Rcc) -> None:
    lines = filled("show", "isle").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["ferry.md", "library.txt", "people/pilot.txt"]
    shown = filled.json("show", "isle")
    assert shown["collection"]["documents"] == len(shown["documents"]) == 3


def test_show_a_document(filled: Rcc) -> None:
    document = filled.json("show", "isle", "ferry.md")["document"]
    text = TEXTS["ferry.md"]
    assert document["characters"] == len(text) and document["windows"][0]["end"] <= len(text)
    shown = filled("show", "isle", "ferry.md").stdout
    assert f"{document['windows'][0]['start']}-{document['windows'][0]['end']}" in shown
    assert "digest: " + document["digest"] in shown and "# Ferry The ferry to Holm" in shown
    assert filled("show", "isle", "ferry.md", "--text").stdout == text
    assert filled.json("show", "isle", "ferry.md", "--text")["text"] == text


def test_show_unknown_things(filled: Rcc) -> None:
    assert "Did you mean 'isle'" in filled("show", "isles").stderr
    assert "Did you mean 'ferry.md'" in filled("show", "isle", "ferri.md").stderr
    assert filled("show", "isle", "--text").exit_code == 2


def test_stored_text_reaches_neither_markup_nor_terminal(rcc: Rcc) -> None:
    text = "[bold]x[/bold] \x1b[31mred\x1b[0m \x9b2J :smile: end"
    with MemoryStore.open(rcc.store) as store:
        store.create_collection("a[b]", fingerprint="f", model={"base": "\x1b]0;t\x07[red]m[/red]", "ratio": 4})
        store.put_blobs({"ab" * 32: _blob()}, storage="int8")
        store.put_document("a[b]", "d[i]", text, windows=[_window(text)], tokens=3, digest="d", metadata={"t": text})
    outputs = [
        rcc("ls").output,
        rcc("show", "a[b]").output,
        rcc("show", "a[b]", "d[i]").output,
        rcc("show", "a[b]", "d[i]", "--text").output,
        rcc("show", "a[b]", "d[i]", "--text", "--json").output,
        rcc("search", "a[b]", "red end", "--routing", "words").output,
    ]
    for output in outputs:
        assert "\x1b" not in output and "\x9b" not in output and "\x07" not in output
    assert "[red]m[/red]" in outputs[0] and "d[i]" in outputs[1]
    assert outputs[3] == "[bold]x[/bold] \ufffd[31mred\ufffd[0m \ufffd2J :smile: end\n"
    assert rcc.json("show", "a[b]", "d[i]", "--text")["text"] == text
    assert "[bold]x[/bold]" in outputs[5] and ":smile:" in outputs[5]


def test_rm_documents(filled: Rcc) -> None:
    result = filled("rm", "isle", "ferry.md", "library.txt")
    assert result.exit_code == 0 and "removed  ferry.md\n" in result.stdout
    assert [one["id"] for one in filled.json("show", "isle")["documents"]] == ["people/pilot.txt"]


def test_rm_documents_is_all_or_nothing(filled: Rcc) -> None:
    assert filled.json("rm", "isle", "ferry.md", "nope", code=1)["error"]["type"] == "UnknownDocumentError"
    assert len(filled.json("show", "isle")["documents"]) == 3


def test_rm_a_collection_needs_a_yes(filled: Rcc) -> None:
    refused = filled("rm", "isle", stdin="y\n")
    assert refused.exit_code == 1 and "--yes" in refused.stderr
    assert len(filled.json("ls")["collections"]) == 1
    assert filled.json("rm", "isle", "--yes")["dropped"] is True
    assert filled.json("ls")["collections"] == []


def test_mv(filled: Rcc) -> None:
    before = filled.json("show", "isle")
    assert filled("mv", "isle", "island").exit_code == 0
    after = filled.json("show", "island")
    assert after["documents"] == before["documents"] and after["collection"]["uid"] == before["collection"]["uid"]
    assert filled.json("mv", "isle", "x", code=1)["error"]["type"] == "UnknownCollectionError"
    assert filled.json("mv", "island", "a/b", code=1)["error"]["type"] == "InvalidNameError"


def test_store_may_stand_behind_the_command_and_in_the_environment(filled: Rcc, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.move(filled.store, moved)
    assert filled("ls").exit_code == 1
    assert filled("ls", "--store", moved).exit_code == 0
    run = CliRunner().invoke
    assert run(app, ["ls"], env={"RCC_STORE": str(moved)}).exit_code == 0
    assert run(app, ["--store", str(tmp_path / "no"), "ls"], env={"RCC_STORE": str(moved)}).exit_code == 1
    assert run(app, ["ls", "--store", ""]).exit_code == 2


def _blob() -> dict:
    import torch

    return {"key": torch.ones(1, 1, 1, 4), "value": torch.ones(1, 1, 1, 4)}


def _window(text: str):
    from rcc_integrations.memory.records import WindowRecord

    return WindowRecord("ab" * 32, 0, len(text), 3, 1)
