from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import TEXTS, Rcc, write


def test_says_what_was_done(rcc: Rcc, docs: Path) -> None:
    (docs / "empty.txt").touch()
    (docs / "picture.bin").write_bytes(bytes(range(256)) * 8)
    result = rcc("add", "isle", docs)
    assert result.exit_code == 0, result.output
    for id in TEXTS:
        assert f"added    {id}\n" in result.stdout
    assert f"skipped  {docs / 'empty.txt'}: " in result.stdout
    assert f"skipped  {docs / 'picture.bin'}: " in result.stdout
    assert "isle: 3 added, 0 replaced, 0 unchanged, 2 skipped\n" in result.stdout
    assert "3 windows compressed, 0 reused; " in result.stdout
    assert "tokens/s" in result.stdout


def test_only_new_and_changed_documents_are_compressed(rcc: Rcc, docs: Path) -> None:
    rcc("add", "isle", docs)
    write(docs, {"ferry.md": "The ferry does not sail in winter.", "new.txt": TEXTS["library.txt"]})
    done = rcc.json("add", "isle", docs)
    assert done["added"] == ["new.txt"]
    assert done["replaced"] == ["ferry.md"]
    assert sorted(done["unchanged"]) == ["library.txt", "people/pilot.txt"]
    assert (done["windows_compressed"], done["windows_reused"]) == (1, 1)
    assert done["tokens_per_second"] > 0
    assert done["collection"]["documents"] == 4


def test_documents_without_files_are_counted_and_pruned(rcc: Rcc, docs: Path) -> None:
    rcc("add", "isle", docs)
    (docs / "ferry.md").unlink()
    kept = rcc("add", "isle", docs)
    assert "1 document of isle is not among these files; --prune would remove it." in kept.stdout
    assert len(rcc.json("show", "isle")["documents"]) == 3
    assert rcc.json("add", "isle", docs)["not_among_files"] == ["ferry.md"]
    pruned = rcc("add", "isle", docs, "--prune")
    assert "removed  ferry.md\n" in pruned.stdout
    assert [one["id"] for one in rcc.json("show", "isle")["documents"]] == ["library.txt", "people/pilot.txt"]


def test_a_file_that_became_unreadable_is_not_pruned(rcc: Rcc, docs: Path) -> None:
    rcc("add", "isle", docs)
    (docs / "ferry.md").write_bytes(b"")
    (docs / "library.txt").write_bytes(bytes(range(256)) * 8)
    done = rcc.json("add", "isle", docs, "--prune")
    assert done["pruned"] == []
    assert {Path(one["path"]).name for one in done["skipped"]} == {"ferry.md", "library.txt"}
    assert len(rcc.json("show", "isle")["documents"]) == 3


def test_an_excluded_document_counts_as_gone(rcc: Rcc, docs: Path) -> None:
    rcc("add", "isle", docs)
    done = rcc.json("add", "isle", docs, "--exclude", "*.md", "--exclude", "people", "--prune")
    assert sorted(done["pruned"]) == ["ferry.md", "people/pilot.txt"]
    assert done["unchanged"] == ["library.txt"]


def test_a_broken_file_is_skipped_with_its_reason(rcc: Rcc, docs: Path) -> None:
    (docs / "broken.pdf").write_bytes(b"%PDF-1.7\nnot a pdf at all")
    done = rcc.json("add", "isle", docs)
    assert sorted(done["added"]) == sorted(TEXTS)
    assert [one["path"] for one in done["skipped"]] == ["broken.pdf"]
    assert "pdf" in done["skipped"][0]["reason"].lower()


def test_what_rules_leave_out_is_only_counted(rcc: Rcc, docs: Path) -> None:
    write(docs, {"node_modules/a.txt": "one", ".hidden/b.txt": "two"})
    result = rcc("add", "isle", docs)
    assert "left out by rule" in result.stdout and "node_modules" not in result.stdout


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7\nnot a pdf at all"])
def test_nothing_readable_makes_no_store(rcc: Rcc, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "one.pdf"
    file.write_bytes(content)
    result = rcc("add", "isle", file)
    assert result.exit_code == 1
    assert "one.pdf: " in result.stdout and "skipped" in result.stdout
    assert result.stderr.startswith("Error: None of the paths contains a readable file")
    failed = rcc.json("add", "isle", file, code=1)
    assert failed["error"]["type"] == "UnreadableFileError"
    assert len(failed["skipped"]) == 1
    assert not rcc.store.exists()


def test_nothing_readable_changes_no_collection(filled: Rcc, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    before = filled.json("ls")
    assert filled.json("add", "isle", tmp_path / "bare", "--prune", code=1)["skipped"] == []
    assert filled.json("ls") == before


def test_a_missing_path_is_an_error(rcc: Rcc, docs: Path) -> None:
    result = rcc("add", "isle", docs / "ferri.md")
    assert result.exit_code == 1 and "Did you mean" in result.stderr
    assert not rcc.store.exists()


def test_standard_input_gets_a_name(rcc: Rcc) -> None:
    page = "<html><title>Hours</title><body><p>The library opens at nine.</p></body></html>"
    assert rcc.json("add", "isle", "-", "--name", "page.html", stdin=page)["added"] == ["page.html"]
    shown = rcc.json("show", "isle", "page.html", "--text")
    assert shown["document"]["metadata"]["title"] == "Hours" and "<p>" not in shown["text"]
    assert rcc.json("add", "isle", "-", stdin="The bell rings twice.")["added"] == ["stdin"]


def test_a_name_without_standard_input_is_a_usage_error(rcc: Rcc, docs: Path) -> None:
    result = rcc("add", "isle", docs, "--name", "x")
    assert result.exit_code == 2 and "standard input" in result.stderr


def test_ratio_and_storage_of_a_new_collection(rcc: Rcc, docs: Path) -> None:
    made = rcc.json("add", "isle", docs, "--ratio", "2", "--storage", "float32")["collection"]
    assert (made["model"]["ratio"], made["storage"]) == (2, "float32")
    other = rcc.json("add", "isle", docs, "--ratio", "4", code=1)
    assert other["error"]["type"] == "FingerprintMismatchError"
    assert rcc.json("add", "isle", docs)["unchanged"]


def test_an_untrained_ratio_must_be_meant(rcc: Rcc, docs: Path) -> None:
    refused = rcc("add", "isle", docs, "--ratio", "3")
    assert refused.exit_code == 1 and "--untrained" in refused.stderr
    assert rcc.json("add", "isle", docs, "--ratio", "3", "--untrained")["collection"]["model"]["ratio"] == 3


def test_an_unknown_storage_is_a_usage_error(rcc: Rcc, docs: Path) -> None:
    assert rcc("add", "isle", docs, "--storage", "int4").exit_code == 2
    assert rcc("add", "isle", docs, "--ratio", "0").exit_code == 2
    assert not rcc.store.exists()


def test_ids_reach_neither_markup_nor_terminal(rcc: Rcc, tmp_path: Path) -> None:
    write(tmp_path / "odd", {"[red]a[/red].txt": "one", "b\u202etxt.c": "two", "c\x1b[2J.txt": "three"})
    result = rcc("add", "isle", tmp_path / "odd")
    assert result.exit_code == 0
    assert "added    [red]a[/red].txt\n" in result.stdout
    assert "\x1b" not in result.output and "\u202e" not in result.output
    assert "b\u202etxt.c" in json.loads(rcc("show", "isle", "--json").stdout)["documents"][1]["id"]


def test_a_collection_can_have_a_time_to_live(rcc, docs):
    made = rcc.json("add", "isle", docs, "--ttl", "2h", "--renew")
    assert made["collection"]["expiry"]["ttl"] == 7200 and made["collection"]["expiry"]["renew"]
    assert "no time to live" in rcc("add", "isle", docs, "--ttl", "soon").output
    assert rcc("add", "isle", docs, "--renew").exit_code == 2
