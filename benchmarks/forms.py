"""The published form of memory against ours, each trained from the same base with the same steps and data.

Prints, before and after, the share of answer tokens that are foretold rightly (teacher-forced) and of answers with
every token right, over documents of the validation split, at ratio 4.

Run: python -m benchmarks.forms [--steps 30]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from rcc_integrations import RCCModel
from rcc_integrations.training import Trainer, TrainSettings, rank_layers

RATIO = 4


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30, help="training steps of each form")
    parser.add_argument("--samples", type=int, default=24, help="documents looked at")
    given = parser.parse_args()
    layers = rank_layers(RCCModel.from_base("smollm2-135m-instruct", window=128, device="cpu", dtype="float32"))
    forms: dict[str, dict[str, Any]] = {
        "residual, last (as published)": {"injection": "residual", "placement": "last"},
        "residual, staggered": {"injection": "residual", "placement": "staggered"},
        "kv, last": {"placement": "last"},
        "kv, staggered": {"placement": "staggered"},
        "kv, focused": {"placement": "focused", "layers": layers},
    }
    print(f"{given.steps} steps at ratio {RATIO}, {given.samples} documents; tokens / whole answers foretold rightly")
    for name, form in forms.items():
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainSettings(
                output=Path(folder), steps=given.steps, ratios={RATIO: 1.0}, stages={"B": 1.0}, max_windows=4,
                check_samples=given.samples, save_minutes=10_000.0, seed=1, device="cpu", **form,
            )  # fmt: skip
            trainer = Trainer(settings)
            before, begun = _foretold(trainer), time.monotonic()
            trainer.run()
            pace = (time.monotonic() - begun) / given.steps
            after = _foretold(trainer)
        print(f"{name:<32} {before[0]:.2f} / {before[1]:.2f} -> {after[0]:.2f} / {after[1]:.2f}   "
              f"{pace:.1f} s a step, checking included", flush=True)  # fmt: skip


def _foretold(trainer: Trainer) -> tuple[float, float]:
    with torch.no_grad():
        outcomes = [trainer.learner(batch) for batch in trainer.unseen(RATIO)]
    pairs = [pair for outcome in outcomes for pair in zip(outcome.right, outcome.lengths, strict=True)]
    tokens = sum(right for right, _ in pairs) / sum(length for _, length in pairs)
    return tokens, sum(right == length for right, length in pairs) / len(pairs)


if __name__ == "__main__":
    main()
