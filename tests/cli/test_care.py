from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.model.fingerprint import weights_digest
from tests.cli.conftest import TEXTS, Rcc


def break_a_blob(store: Path) -> None:
    path = next((store / "blobs").glob("*/*.safetensors"))
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 0xFF
    path.write_bytes(data)


def test_stats(filled: Rcc) -> None:
    found = filled.json("stats")
    assert (found["collections"], found["documents"]) == (1, 3)
    assert found["text_bytes"] == sum(len(text.encode()) for text in TEXTS.values())
    assert "memories on disk: 3 (" in filled("stats").stdout


def test_verify_of_a_good_store(filled: Rcc) -> None:
    result = filled("verify")
    assert result.exit_code == 0 and "The store is in order." in result.stdout
    report = filled.json("verify")
    assert report["ok"] is True and report["checked"] == {"collections": 1, "documents": 3, "blobs": 3, "texts": 3}


def test_verify_lists_problems_and_changes_nothing(filled: Rcc) -> None:
    break_a_blob(filled.store)
    result = filled("verify")
    assert result.exit_code == 1
    assert "blob-damaged" in result.stdout and "document-damaged" in result.stdout and "left." in result.stdout
    report = filled.json("verify", code=1)
    assert report["ok"] is False and len(report["damaged"]) == 1 and report["damaged"][0]["text_intact"]


def test_repair_compresses_again(filled: Rcc) -> None:
    before = filled.json("ask", "isle", "When?", "--max-new-tokens", 6)["text"]
    break_a_blob(filled.store)
    report = filled.json("verify", "--repair", "--grace", "0")
    assert report["ok"] is True and report["damaged"] == [] and report["repair_failed"] is None
    assert any("was compressed again" in problem["what"] for problem in report["problems"])
    assert filled.json("verify")["problems"] == []
    assert filled.json("ask", "isle", "When?", "--max-new-tokens", 6)["text"] == before


def test_repair_without_the_model_says_so(filled: Rcc, tmp_path: Path) -> None:
    break_a_blob(filled.store)
    lost = Rcc(filled.store, tmp_path / "no-model")
    result = lost("verify", "--repair")
    assert result.exit_code == 1 and "What needs the model could not be repaired" in result.stdout
    report = lost.json("verify", "--repair", code=1)
    assert report["repair_failed"] and len(report["damaged"]) == 1
    # With the model at hand it is still possible.
    assert filled.json("verify", "--repair")["ok"] is True


def test_grace_protects_what_nothing_uses_yet(filled: Rcc) -> None:
    with MemoryStore.open(filled.store) as store:
        store.put_blobs({"ab" * 32: {"key": torch.ones(1, 1, 1, 4)}}, storage="int8")
    filled("verify", "--repair")
    assert filled.json("stats")["blobs"] == 4
    assert filled.json("verify", "--repair", "--grace", "0")["problems"][0]["kind"] == "unreferenced"
    assert filled.json("stats")["blobs"] == 3


def test_pull_says_where_the_weights_are(rcc: Rcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rcc_integrations.model import packaged

    monkeypatch.setenv("RCC_CACHE", str(tmp_path))
    folder = tmp_path / f"{packaged.NAME}-{packaged._GGUF_SHA256[:8]}-{packaged._CONVERSION}"
    folder.mkdir()
    # Weights of nothing at all are whole, too.
    digest = weights_digest([])
    (folder / "base.json").write_text(json.dumps({"digest": digest}))
    assert str(folder) in rcc("pull").stdout
    assert rcc.json("pull") == {"model": packaged.NAME, "folder": str(folder), "digest": digest}


def test_pull_without_a_network(rcc: Rcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCC_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr("rcc_integrations.model.packaged._installed", lambda: [])
    result = rcc("pull")
    assert result.exit_code == 1 and result.stderr.startswith("Error: pip could not fetch")


def test_a_dry_run_says_what_a_repair_would_do(filled: Rcc) -> None:
    break_a_blob(filled.store)
    before = {path: path.read_bytes() for path in filled.store.rglob("*.safetensors")}
    report = filled.json("verify", "--repair", "--dry-run", code=1)
    assert report["dry_run"] and not any(problem["repaired"] for problem in report["problems"])
    assert any("lost+found" in problem["action"] for problem in report["problems"])
    assert {path: path.read_bytes() for path in filled.store.rglob("*.safetensors")} == before
    assert not (filled.store / "lost+found").exists()
    done = filled("verify", "--repair")
    assert done.exit_code == 0 and "with the reasons in record.jsonl" in done.stdout
    assert "lost+found:" in filled("stats").stdout and filled.json("stats")["lost_files"] == 2
    # What is gone can be taken away without harm.
    shutil.rmtree(filled.store / "lost+found")
    assert filled.json("verify")["problems"] == []


def test_a_store_that_does_not_open_is_repaired(filled: Rcc) -> None:
    (filled.store / "store.json").write_text("nothing")
    database = filled.store / "index" / "cache.db"
    database.write_bytes(database.read_bytes()[:9000])
    refused = filled("ls")
    assert refused.exit_code == 1 and "rcc verify --repair" in refused.stderr
    report = filled.json("verify", "--repair")
    assert {"marker", "index"} <= {problem["kind"] for problem in report["problems"]} and report["ok"]
    assert filled.json("ls")["collections"][0]["documents"] == 3
    assert filled.json("ask", "isle", "When?", "--max-new-tokens", 2)["usage"]["windows"] == 3
