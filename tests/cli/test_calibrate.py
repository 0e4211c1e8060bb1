from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rcc_integrations import RCCModel
from rcc_integrations.config import NOT_STATED, RCCConfig
from rcc_integrations.training.data.files import write_samples
from rcc_integrations.training.data.sample import Question, Sample
from tests.cli.conftest import TEXTS, Rcc


@pytest.fixture
def folder(saved_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_model, tmp_path / "model"))


def test_writes_weights_and_shows_what_they_decline(rcc: Rcc, folder: Path, tmp_path: Path) -> None:
    said = RCCModel.from_pretrained(folder, device="cpu").answer(TEXTS["ferry.md"], "When?", max_new_tokens=40).text
    data = tmp_path / "mine.jsonl"
    questions = (Question("When?", (said,)), Question("Who sails?", ("nobody at all",)),
                 Question("Why?", (NOT_STATED,), "unanswerable"))  # fmt: skip
    write_samples(data, [Sample(TEXTS["ferry.md"], questions)])
    before = RCCConfig.load(folder)
    found = rcc.json("calibrate", folder, "--data", data, "--only", "confidence")
    after = RCCConfig.load(folder)
    assert list(after.confidence) == found["confidence"] and len(after.confidence) == 4 and before.confidence == ()
    assert {row["asked"] for row in found["thresholds"]} == {3}
    assert all(row["unanswerable"] == 1 for row in found["thresholds"])
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]
    shown = rcc("calibrate", folder, "--data", data, "--only", "confidence").stdout
    assert "min_confidence" in shown and "rcc_config.json" in shown
    model = RCCModel.from_pretrained(folder, device="cpu")
    assert model.config == after
    # Memories that were made before still fit.
    assert model.fingerprint() == RCCModel.from_pretrained(folder, device="cpu").fingerprint()


def test_what_cannot_be_calibrated_changes_nothing(rcc: Rcc, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    write_samples(data, [Sample("A text.", (Question("Why?", ("no such answer",)),))])
    kept = (folder / "rcc_config.json").read_bytes()
    assert rcc.json("calibrate", folder, "--data", data, "--only", "confidence", code=1)["error"]["type"] == "DataError"
    assert (folder / "rcc_config.json").read_bytes() == kept
    assert rcc.json("calibrate", tmp_path / "nowhere", code=1)["error"]["type"] == "ModelNotFoundError"
    assert json.loads(kept)


def test_routing_heads_are_written_and_used(rcc: Rcc, folder: Path) -> None:
    options = ("--only", "routing", "--routing-documents", 40, "--routing-steps", 3)
    before = RCCModel.from_pretrained(folder, device="cpu")
    assert before.routing_head(4) is None
    fitted = rcc.json("calibrate", folder, *options)["routing"]
    after = RCCModel.from_pretrained(folder, device="cpu")
    head = after.routing_head(4)
    assert head is not None and list(head.levels) == fitted[0]["levels"] and 4 in fitted[0]["ratios"]
    assert fitted[0]["questions"] > 0 and 0 <= fitted[0]["recall"][0] <= fitted[0]["recall"][2] <= 1
    assert after.fingerprint() == before.fingerprint() and after.config == before.config
    shown = rcc("calibrate", folder, *options).stdout
    assert "recall @1" in shown and "routing.safetensors" in shown


def test_too_few_documents_for_routing_change_nothing(rcc: Rcc, folder: Path) -> None:
    options = ("--only", "routing", "--routing-documents", 1, "--routing-steps", 1)
    error = rcc.json("calibrate", folder, *options, code=1)["error"]
    assert error["type"] == "DataError" and "--routing-documents" in error["message"]
    assert not (folder / "routing.safetensors").exists()


def test_a_base_needs_a_folder_to_make(rcc: Rcc, folder: Path) -> None:
    result = rcc.json("--base", folder, "calibrate", folder, code=1)
    assert "is not empty" in result["error"]["message"]
