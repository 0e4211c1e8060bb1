from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rcc_integrations.errors import ConfigError, MissingExtraError
from rcc_integrations.training import TrainSettings
from rcc_integrations.training.log import Progress
from rcc_integrations.training.schedule import Schedule
from rcc_integrations.training.settings import differences

OUT = Path("run")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": None}, "needs an end"),
        ({"steps": 0}, "steps must be a whole number"),
        ({"batch": True}, "batch must be a whole number"),
        ({"minutes": float("inf")}, "minutes must be a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"warmup": 1.0}, "warmup must be from 0 to 0.9"),
        ({"distractors": 1.5}, "distractors must be from 0 to 1"),
        ({"distil": -1.0}, "distil must be from 0"),
        ({"ratios": {}}, "ratios needs shares"),
        ({"ratios": {4: 0.0}}, "ratios needs shares"),
        ({"ratios": {0: 1.0}}, "with 0 alone no memory"),
        ({"ratios": {256: 1.0}}, "from 0 to the window of 128"),
        ({"stages": {"D": 1.0}}, "no stage 'D'"),
        ({"shares": {"fact": 1.0}}, "no task 'fact'"),
        ({"injection": "cache"}, "injection must be one of kv, residual"),
        ({"placement": "first"}, "placement must be one of"),
        ({"device": "tpu"}, "device must be one of"),
    ],
)
def test_what_cannot_be_is_said(given, message):
    with pytest.raises(ConfigError, match=message):
        TrainSettings(**{"output": OUT, "steps": 1, **given})


def test_differences_name_what_differs():
    first = TrainSettings(output=OUT, steps=1).to_dict()
    other = TrainSettings(output=Path("elsewhere"), steps=1, save_minutes=9.0).to_dict()
    assert differences(first, other) == []
    other = TrainSettings(output=OUT, steps=2, ratios={8: 1.0}).to_dict()
    found = differences(first, other)
    assert found[1] == "steps was 1, now 2" and found[0].startswith("ratios was {'0': 0.1")


def test_a_schedule_goes_through_the_stages():
    schedule = Schedule(TrainSettings(output=OUT, steps=10, minutes=1, stages={"A": 1, "B": 2, "C": 1}, warmup=0.1))
    assert [schedule.stage(part) for part in (0, 0.24, 0.25, 0.7, 0.75, 0.99, 1.0)] == list("AABBCCC")
    assert schedule.part(Progress(step=5)) == 0.5
    assert schedule.part(Progress(step=5, seconds=45)) == 0.75
    rates = [schedule.rate(part / 100) for part in range(101)]
    assert 0 < rates[0] < 0.05 and max(rates) == pytest.approx(1) and rates[-1] == pytest.approx(0.05)
    assert rates.index(max(rates)) == 10 and rates[10:] == sorted(rates[10:], reverse=True)


def test_importing_settings_pulls_in_no_more_than_it_must():
    absent = "torch accelerate transformers yaml matplotlib peft"
    code = (
        "import sys, rcc_integrations.training, rcc_integrations.cli.train\n"
        f"print([m for m in '{absent}'.split() if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(("module", "name", "package"), [("accelerate", "Trainer", "accelerate"),
                                                        ("yaml", "Mixture", "PyYAML")])  # fmt: skip
def test_a_missing_extra_is_named(module, name, package):
    code = (
        f"import sys; sys.modules['{module}'] = None\n"
        "from rcc_integrations.errors import MissingExtraError\n"
        f"try:\n    from rcc_integrations.training import {name}\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == f"Training needs {package}, which is not installed: pip install " \
        "'rcc-integrations[train]'"  # fmt: skip
    assert issubclass(MissingExtraError, ImportError)


def test_public_names():
    import rcc_integrations.training as training

    for name in training.__all__:
        assert getattr(training, name) is not None
    with pytest.raises(AttributeError, match="Trainr"):
        _ = training.Trainr
