from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations.training import TrainSettings, read_samples
from tests.cli.conftest import Rcc
from tests.tiny import tiny_base, tiny_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base") / "tiny"
    tiny_base("llama", num_hidden_layers=4).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return path


@pytest.fixture
def line(base: Path, tmp_path: Path) -> list[Any]:
    """Options of a short run."""
    return ["train", "--output", tmp_path / "run", "--base", base, "--window", 32, "--ratio", "2=1", "--ratio", "4=3",
            "--stage", "B=1", "--share", "facts=1", "--steps", 2, "--batch", 2, "--max-windows", 4, "--target-tokens",
            64, "--check-samples", 2]  # fmt: skip


def test_every_setting_has_an_option(rcc):
    text = " ".join(rcc("train", "--help").stdout.split())
    for field in dataclasses.fields(TrainSettings):
        name = {"own": "data", "ratios": "ratio", "stages": "stage", "shares": "share"}.get(field.name, field.name)
        assert f"--{name.replace('_', '-')}" in text, name


def test_train_shows_how_it_goes_and_what_came_out(rcc, line, tmp_path):
    result = rcc(*line)
    assert result.exit_code == 0, result.output
    assert "step 1 stage B loss " in result.stderr and "Saved." in result.stderr
    assert "2 steps in" in result.stdout and "rcc --model" in result.stdout
    again = rcc(*line)
    assert again.exit_code == 0 and "This run is finished: 2 steps" in again.stderr
    other = rcc(*line, "--seed", 3)
    assert other.exit_code == 1 and "seed was 0, now 3" in other.stderr
    found = rcc.json(*line, "--seed", 3, "--fresh")
    assert found["step"] == 2 and set(found["check"]) == {"2", "4"} and Path(found["model"]).is_dir()
    text = tmp_path / "ferry.txt"
    text.write_text("The ferry to Holm leaves at 7:45.", encoding="utf-8")
    trained = Rcc(tmp_path / "store", Path(found["model"]))
    assert trained("add", "isle", text).exit_code == 0


def test_an_export_trains_elsewhere(rcc, line, tmp_path):
    data = tmp_path / "mixture.jsonl"
    found = rcc.json("train", "--export", data, "--samples", 30, "--share", "facts", "--seed", 5)
    assert found == {"file": str(data), "samples": 30, "shares": {"facts": 1.0}, "seed": 5}
    assert len(read_samples(data)) == 30
    again = rcc("train", "--export", tmp_path / "again.jsonl", "--samples", 30, "--share", "facts", "--seed", 5)
    assert "rcc train --data" in again.stdout
    assert (tmp_path / "again.jsonl").read_bytes() == data.read_bytes()
    result = rcc(*line, "--data", data)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "1"], "give --output FOLDER"),
        (["--output", "run"], "needs an end: give steps, minutes"),
        (["--output", "run", "--steps", "1", "--ratio", "four=1"], "--ratio takes a name and a share, such as 4=0.5"),
        (["--output", "run", "--steps", "1", "--share", "facts=much"], "--share takes a name"),
        (["--output", "run", "--steps", "1", "--stage", "D"], "no stage 'D'"),
        (["--output", "run", "--steps", "1", "--injection", "cache"], "injection must be one of"),
        (
            ["--output", "run", "--steps", "1", "--data", "nothing.jsonl", "--base", "{base}", "--ratio", "4"],
            "There is no",
        ),
        (["--output", "run", "--steps", "1", "--base", "{base}"], "ratio 8 leaves no layer with memory"),
        (["--output", "run", "--steps", "1", "--layers", "3;1"], "--layers takes whole numbers"),
        (["--output", "run", "--steps", "1", "--base", "{base}", "--ratio", "4", "--layers", "0,1"], "names 2 layers"),
    ],
)
def test_what_cannot_be_is_said(rcc, base, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = rcc("train", *(str(base) if option == "{base}" else option for option in options))
    assert result.exit_code == 1 and message in result.stderr
    found = rcc.json("train", *(str(base) if option == "{base}" else option for option in options), code=1)
    assert message in found["error"]["message"]


def test_base_and_device_before_the_command_count(rcc, line, base):
    place = line.index("--base")
    without = line[:place] + line[place + 2 :]
    result = rcc("--base", base, *without)
    assert result.exit_code == 0, result.output
    log = (line[2] / "log.jsonl").read_text(encoding="utf-8").splitlines()
    settings = json.loads(log[0])["settings"]
    assert settings["base"] == str(base) and settings["device"] == "cpu"


def test_a_loss_that_does_not_fall_is_a_failure(rcc, line):
    slow = [*line, "--steps", 3, "--learning-rate", 1e-9, "--projection-rate", 1e-9, "--must-fall"]
    result = rcc(*slow)
    assert result.exit_code == 1 and "The loss has not fallen: " in result.stderr
    assert rcc(*line, "--fresh", "--must-fall").exit_code == 1  # two steps are too few to tell
