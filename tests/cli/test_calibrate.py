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
    found = rcc.json("calibrate", folder, "--data", data)
    after = RCCConfig.load(folder)
    assert list(after.confidence) == found["confidence"] and len(after.confidence) == 4 and before.confidence == ()
    assert {row["asked"] for row in found["thresholds"]} == {3}
    assert all(row["unanswerable"] == 1 for row in found["thresholds"])
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]
    shown = rcc("calibrate", folder, "--data", data).stdout
    assert "min_confidence" in shown and "rcc_config.json" in shown
    model = RCCModel.from_pretrained(folder, device="cpu")
    assert model.config == after
    # Memories that were made before still fit.
    assert model.fingerprint() == RCCModel.from_pretrained(folder, device="cpu").fingerprint()


def test_what_cannot_be_calibrated_changes_nothing(rcc: Rcc, folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    write_samples(data, [Sample("A text.", (Question("Why?", ("no such answer",)),))])
    kept = (folder / "rcc_config.json").read_bytes()
    assert rcc.json("calibrate", folder, "--data", data, code=1)["error"]["type"] == "DataError"
    assert (folder / "rcc_config.json").read_bytes() == kept
    assert rcc.json("calibrate", tmp_path / "nowhere", code=1)["error"]["type"] == "ConfigError"
    assert json.loads(kept)
