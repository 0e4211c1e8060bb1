from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rcc_integrations.memory.store import MemoryStore
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
    assert result.exit_code == 1 and "could not be compressed again" in result.stdout
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
    (folder / "base.json").write_text('{"digest": "d"}')
    assert str(folder) in rcc("pull").stdout
    assert rcc.json("pull") == {"model": packaged.NAME, "folder": str(folder), "digest": "d"}


def test_pull_without_a_network(rcc: Rcc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCC_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    result = rcc("pull")
    assert result.exit_code == 1 and result.stderr.startswith("Error: pip could not fetch")
