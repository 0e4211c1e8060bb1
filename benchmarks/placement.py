"""What is left of a text at each ratio, by what a slot keeps of its tokens: no training, the base model's own weights.

Prints the share of answer tokens that are foretold rightly (teacher-forced), over composed documents of the validation
split, with two orders of layers: the one that `rank_layers` measures and the one that the default model is made with.

Run: python -m benchmarks.placement [--samples 12]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch

from rcc_integrations import RCCConfig, RCCModel
from rcc_integrations.config import Placement
from rcc_integrations.model.checkpoint import DEFAULT
from rcc_integrations.training import TrainSettings, rank_layers
from rcc_integrations.training.batch import CLEAR
from rcc_integrations.training.feed import Feed
from rcc_integrations.training.learner import Learner


def foretold(placement: Placement, layers: tuple[int, ...], ratio: int, samples: int) -> float:
    """Return the share of answer tokens that the untrained model foretells rightly."""
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainSettings(
            output=Path(folder), steps=1, placement=placement, layers=layers, ratios={max(ratio, 1): 1.0},
            shares={"facts": 1.0}, check_samples=samples, distractors=0.0, hard=0.0, clear=0.0, device="cpu",
        )  # fmt: skip
        learner = Learner(settings)
        with torch.no_grad():
            outcomes = [learner(batch) for batch in Feed(settings, learner).unseen(ratio)]
    pairs = [pair for outcome in outcomes for pair in zip(outcome.right, outcome.lengths, strict=True)]
    return float(sum(right for right, _ in pairs) / sum(length for _, length in pairs))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=12, help="documents")
    samples = parser.parse_args().samples
    measured = rank_layers(RCCModel.from_base("smollm2-135m-instruct", window=128, device="cpu", dtype="float32"))
    trained = RCCConfig.load(DEFAULT).layers
    print("layers, most-read first, by rank_layers:  ", *measured)
    print("layers that the default model is made with:", *trained)
    print(f"{samples} documents; answer tokens foretold rightly")

    def row(name: str, placement: Placement, layers: tuple[int, ...], ratio: int) -> None:
        print(f"{name:<42} {foretold(placement, layers, ratio, samples):.2f}", flush=True)

    row("full text", "staggered", (), CLEAR)
    row("ratio 1, exact", "staggered", (), 1)
    for ratio in (2, 4, 8):
        row(f"ratio {ratio}, last token of a run", "last", (), ratio)
        row(f"ratio {ratio}, staggered", "staggered", (), ratio)
        row(f"ratio {ratio}, focused, layers by rank_layers", "focused", measured, ratio)
        row(f"ratio {ratio}, focused, layers of the default", "focused", trained, ratio)


if __name__ == "__main__":
    main()
