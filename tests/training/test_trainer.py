"""Whole runs on a tiny model."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rcc_integrations import RCCModel
from rcc_integrations.errors import ConfigError, DataError, TrainingError
from rcc_integrations.training import Trainer, TrainSettings
from rcc_integrations.training.batch import CLEAR
from rcc_integrations.training.guard import check_loss
from rcc_integrations.training.log import Progress, read_log


def weights_of(output) -> dict[str, torch.Tensor]:
    return load_file(output / "state" / "tensors.safetensors")


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("injection", ["kv", "residual"])
def test_the_loss_falls(settings_for, injection):
    settings = settings_for(injection=injection, steps=40, learning_rate=1e-2, batch=4, ratios={1: 1.0})
    progress = Trainer(settings).run()
    losses = [entry["loss"] for entry in read_log(settings.output) if "loss" in entry]
    assert progress.step == len(losses) == 40
    assert sum(losses[-8:]) < 0.95 * sum(losses[:8])


def test_a_run_leaves_a_model_a_log_and_curves(settings_for):
    lines: list[str] = []
    stages = {"A": 1.0, "B": 1.0, "C": 1.0}
    settings = settings_for(steps=6, stages=stages, ratios={CLEAR: 0.2, 1: 0.2, 4: 0.6}, accumulate=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        progress = Trainer(settings, lines.append).run()
    assert progress.step == 6 and progress.seconds > 0
    entries = read_log(settings.output)
    assert entries[0]["settings"]["steps"] == 6
    assert [entry["stage"] for entry in entries if "stage" in entry] == list("AABBCC")
    (check,) = [entry["check"] for entry in entries if "check" in entry]
    assert set(check) == {"0", "1", "4"} and all(0 <= share <= 1 for share in check.values())
    assert (settings.output / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert lines[0].startswith("step 1  stage A  loss ") and any("Saved." in line for line in lines)
    model = RCCModel.from_pretrained(settings.output / "model", device="cpu")
    assert (model.config.ratio, model.config.ratios, model.config.max_windows) == (4, (1, 4), 4)
    assert not list(settings.output.glob("*.writing"))


@pytest.mark.parametrize("stages", [{"B": 1.0}, {"B": 1.0, "C": 1.0}])
def test_going_on_gives_the_very_weights_of_an_unbroken_run(settings_for, tmp_path, stages):
    settings = settings_for(steps=6, stages=stages)
    Trainer(settings).run()

    class PulledError(Exception):
        pass

    broken = dataclasses.replace(settings, output=tmp_path / "broken", save_minutes=1e-9)

    def pull(line: str) -> None:
        # Killed when step 4 is saved; what was done since then is lost.
        if "Saved" in line and len([each for each in read_log(broken.output) if "loss" in each]) == 4:
            raise PulledError

    with pytest.raises(PulledError):
        Trainer(broken, pull).run()
    lines: list[str] = []
    progress = Trainer(dataclasses.replace(broken, save_minutes=5.0), lines.append).run()
    assert progress.step == 6 and lines[0] == "Going on from step 4."
    assert_equal(weights_of(settings.output), weights_of(broken.output))
    steps = [entry["step"] for entry in read_log(broken.output) if "loss" in entry]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_is_left_as_it_is(settings_for):
    settings = settings_for(steps=2)
    Trainer(settings).run()
    before = weights_of(settings.output)
    lines: list[str] = []
    assert Trainer(settings, lines.append).run().step == 2
    assert "finished: 2 steps" in lines[-1]
    assert_equal(before, weights_of(settings.output))


def test_other_settings_do_not_go_on(settings_for):
    settings = settings_for(steps=1)
    Trainer(settings).run()
    other = dataclasses.replace(settings, learning_rate=5e-4, steps=2)
    with pytest.raises(ConfigError, match=r"learning_rate was 0\.001, now 0\.0005; steps was 1, now 2"):
        Trainer(other).run()
    assert Trainer(other).run(resume=False).step == 2
    (settings.output / "state" / "progress.json").write_text("{", encoding="utf-8")
    with pytest.raises(TrainingError, match="cannot be read"):
        Trainer(other).run()


def test_a_model_without_a_state_is_not_overwritten(settings_for):
    import shutil

    settings = settings_for(steps=1)
    Trainer(settings).run()
    shutil.rmtree(settings.output / "state")
    with pytest.raises(ConfigError, match="a model but no state"):
        Trainer(settings).run()


def test_changed_data_do_not_go_on(settings_for, tmp_path):
    data = tmp_path / "own.jsonl"

    def write(place: str) -> None:
        line = {"text": f"Ada lives in {place}.", "questions": [{"q": "Where?", "answers": [place]}]}
        data.write_text(json.dumps(line), encoding="utf-8")

    write("Holm")
    settings = settings_for(own=(data,), shares=None, steps=2)
    Trainer(settings).run()
    write("Varde")
    with pytest.raises(ConfigError, match="data was"):
        Trainer(settings).run()


def test_own_data_train_alone(settings_for, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    text = "The ferry leaves the quay of Holm at seven and comes back from Varde at nine in the evening. "
    for number in range(16):
        (folder / f"{number}.md").write_text(f"{text * 2}It carries {number} people and a dog.", encoding="utf-8")
    data = tmp_path / "own.jsonl"
    line = json.dumps({"text": text, "questions": [{"q": "When does it leave?", "answers": ["at seven"]}]})
    data.write_text(line, encoding="utf-8")
    lines: list[str] = []
    settings = settings_for(own=(data, folder), shares=None, stages={"A": 0.4, "B": 0.6}, steps=5)
    assert Trainer(settings, lines.append).run().step == 5
    assert any("too little to hold some back" in line for line in lines)


def test_a_time_budget_ends_a_run(settings_for):
    settings = settings_for(steps=None, minutes=0.02)
    progress = Trainer(settings).run()
    assert progress.step >= 1 and progress.seconds >= 1.2
    spent = [entry["seconds"] for entry in read_log(settings.output) if "loss" in entry]
    # No step begins when the time is over.
    assert len(spent) == progress.step and all(each < 1.25 for each in spent[:-1])


def test_stage_c_leaves_encoder_and_projections_as_they_are(settings_for):
    settings = settings_for(stages={"C": 1.0}, steps=3, learning_rate=1e-2)
    trainer = Trainer(settings)
    before = {name: weight.detach().clone() for name, weight in trainer.learner.trained().items()}
    trainer.run()
    changed = {name for name, weight in trainer.learner.trained().items() if not torch.equal(weight, before[name])}
    assert changed and {name.partition(".")[0] for name in changed} == {"decoder"}


def test_stage_c_reads_many_windows_of_memories_as_they_are(settings_for):
    settings = settings_for(stages={"C": 1.0}, max_windows=9, bank=12, batch=3)
    trainer = Trainer(settings)
    for step in range(4):
        batch, memories = trainer._feed.batch(step, 0, "C")
        assert memories is not None and len(memories) == len(batch.windows) and len(batch.asked) == 3
        for own, memory in zip(batch.own, batch.memory, strict=True):
            assert [number for number in memory if number in own] == own and len(memory) <= 9
        assert max(len(memory) for memory in batch.memory) >= 5
        fresh = trainer.learner.compress(batch.windows, batch.ratio, frozen=True)
        for one, other in zip(fresh, memories, strict=True):
            for name in one:
                torch.testing.assert_close(one[name], other[name], rtol=0.02, atol=0.02)
    first, again = (trainer._feed.batch(2, 0, "C")[0] for _ in range(2))
    assert first == again


def test_batches_hang_on_seed_step_and_process_alone(settings_for):
    from rcc_integrations.training.feed import Feed

    settings = settings_for()
    learner = Trainer(settings).learner
    first, again, other = Feed(settings, learner), Feed(settings, learner), Feed(settings, learner, 2, 1)
    assert first.batch(3, 0, "B") == again.batch(3, 0, "B")
    assert first.batch(3, 0, "B") != first.batch(4, 0, "B")
    assert first.batch(3, 0, "B") != other.batch(3, 0, "B")
    assert first.unseen(4) == again.unseen(4)


def test_a_diverged_loss_ends_the_run_and_keeps_what_was_saved(settings_for):
    settings = settings_for(steps=30, save_minutes=1e-9)
    trainer = Trainer(settings)
    good: dict[str, Any] = {}

    def poison(line: str) -> None:
        if "Saved" in line and not good:
            good.update(weights_of(settings.output))
            weight = next(iter(trainer.learner.trained().values()))
            weight.data.fill_(float("nan"))

    trainer._report = poison
    with pytest.raises(TrainingError, match=r"diverged at step 2: nan .* The model saved before is in .*model"):
        trainer.run()
    assert_equal(good, weights_of(settings.output))


@pytest.mark.parametrize(
    ("progress", "loss", "norm", "ends"),
    [
        (Progress(5, mean_loss=2, lowest_loss=2), float("nan"), 1.0, True),
        (Progress(5, mean_loss=2, lowest_loss=2), float("inf"), 1.0, True),
        (Progress(5, mean_loss=2, lowest_loss=2), 2.0, float("nan"), True),
        (Progress(5, mean_loss=2, lowest_loss=2), 100.0, 1.0, False),
        (Progress(50, mean_loss=2, lowest_loss=2), 13.0, 1.0, True),
        (Progress(50, mean_loss=2, lowest_loss=2), 11.0, 1.0, False),
        (Progress(50, mean_loss=6.1, lowest_loss=2), 6.0, 1.0, True),
        (Progress(50, mean_loss=0.4, lowest_loss=0.1), 1.5, 1.0, False),
    ],
)
def test_what_counts_as_diverged(tmp_path, progress, loss, norm, ends):
    settings = TrainSettings(output=tmp_path, steps=1)
    if ends:
        with pytest.raises(TrainingError, match=r"Lower the learning rate \(0.001\)"):
            check_loss(settings, progress, loss, norm)
    else:
        check_loss(settings, progress, loss, norm)


def test_what_cannot_be_trained_is_said_before_it_begins(settings_for, tmp_path):
    with pytest.raises(ConfigError, match="is longer than the 1024 positions"):
        Trainer(settings_for(window=1025))
    with pytest.raises(ConfigError, match="do not fit into the 1024 positions"):
        Trainer(settings_for(window=1000))
    with pytest.raises(ConfigError, match="bank must be at least 4"):
        Trainer(settings_for(stages={"C": 1.0}, bank=3))
    with pytest.raises(DataError, match="no file with questions"):
        Trainer(settings_for(shares={"own": 1.0}))
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no samples"):
        Trainer(settings_for(own=(tmp_path / "empty.jsonl",), shares=None))
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            Trainer(settings_for(device="cuda"))
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="is a file"):
        Trainer(settings_for(output=tmp_path / "file"))
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "notes.txt").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="other files than an RCC model"):
        Trainer(settings_for())


def test_bfloat16_and_distillation_run(settings_for):
    settings = settings_for(bf16=True, distil=0.5, stages={"B": 1.0, "C": 1.0}, steps=4, ratios={0: 1.0, 4: 2.0})
    assert Trainer(settings).run().step == 4


@pytest.mark.slow
def test_two_processes_train_side_by_side(settings_for, tmp_path):
    import subprocess
    import sys

    settings = settings_for(steps=4, stages={"B": 1.0, "C": 1.0})
    code = (
        "import sys, json\n"
        "from rcc_integrations.training import Trainer, TrainSettings\n"
        "given = json.loads(sys.argv[1])\n"
        "given['ratios'] = {int(key): value for key, value in given['ratios'].items()}\n"
        "Trainer(TrainSettings(**given), lambda line: print(line, flush=True)).run()\n"
    )
    (tmp_path / "go.py").write_text(code, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d",
               "--rdzv-endpoint", "localhost:0", str(tmp_path / "go.py"), json.dumps(settings.to_dict())]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("step 1 ") == 1
    entries = [entry for entry in read_log(settings.output) if "loss" in entry]
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4]
    assert read_log(settings.output)[0]["settings"]["processes"] == 2
    assert RCCModel.from_pretrained(settings.output / "model", device="cpu").config.ratios == (2, 4)


@pytest.mark.model
def test_the_default_model_learns_in_a_few_steps(tmp_path):
    settings = TrainSettings(output=tmp_path / "run", steps=5, batch=2, stages={"B": 1.0}, shares={"facts": 1.0},
                             ratios={4: 1.0}, max_windows=2, target_tokens=48, check_samples=2, device="cpu",
                             warmup=0.0)  # fmt: skip
    trainer = Trainer(settings)
    unseen = trainer._feed.unseen(4)

    def loss() -> float:
        with torch.no_grad():
            return sum(float(trainer.learner(batch).loss) for batch in unseen)

    before = loss()
    assert trainer.run().step == 5
    assert loss() < 0.95 * before
    saved = RCCModel.from_pretrained(tmp_path / "run" / "model", device="cpu", dtype="float32")
    assert saved.config.base == "smollm2-135m-instruct" and saved.config.placement == "focused"
    assert saved.compress([[1, 2, 3, 4, 5]])[0]["key"].shape == (7, 3, 5, 64)
