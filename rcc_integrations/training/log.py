"""How a run goes: a JSONL log, a line of progress and a plot of the curves."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rcc_integrations.errors import TrainingError

#: The log in a run's folder.
_NAME = "log.jsonl"

#: Share of the newest loss in the running mean.
_NEW = 0.03


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Args:
        step: Steps done.
        seconds: Time spent, saving included, over all sittings.
        targets: Target tokens seen.
        mean_loss: Running mean of the loss.
        last_loss: Loss of the last step.
        lowest_loss: The lowest that the running mean has been.
    """

    step: int = 0
    seconds: float = 0.0
    targets: int = 0
    mean_loss: float = 0.0
    last_loss: float = 0.0
    lowest_loss: float = 0.0

    def after(self, outcome: Any, seconds: float) -> Progress:
        """Return the progress after one more step.

        Args:
            outcome: What the step gave.
            seconds: What it took.
        """
        loss = float(outcome.loss)
        mean = loss if self.step == 0 else self.mean_loss + _NEW * (loss - self.mean_loss)
        lowest = mean if self.step == 0 else min(self.lowest_loss, mean)
        return Progress(self.step + 1, self.seconds + seconds, self.targets + outcome.tokens, mean, loss, lowest)


class RunLog:
    """Writes `log.jsonl` and `curves.png` in a run's folder.

    Args:
        output: The folder; made if it is not there.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._path = output / _NAME

    def begin(self, settings: dict[str, Any], progress: Progress) -> None:
        """Note the settings of a sitting; entries of steps that a lost sitting did not save are dropped.

        Args:
            settings: As JSON values.
            progress: Where the sitting begins.
        """
        self._output.mkdir(parents=True, exist_ok=True)
        kept = (
            [entry for entry in read_log(self._output) if entry.get("step", 0) <= progress.step]
            if progress.step
            else []
        )
        text = "".join(json.dumps(entry) + "\n" for entry in kept)
        self._path.write_text(text + json.dumps({"settings": settings}) + "\n", encoding="utf-8")

    def step(self, progress: Progress, stage: str, outcome: Any, rate: float) -> None:
        """Note a step.

        Args:
            progress: After the step.
            stage: In which it was.
            outcome: What it gave.
            rate: The learning rate as a share of its highest.
        """
        entry = {
            "step": progress.step, "seconds": round(progress.seconds, 1), "stage": stage,
            "loss": round(progress.last_loss, 4), "mean_loss": round(progress.mean_loss, 4),
            "token_accuracy": round(sum(outcome.right) / max(1, sum(outcome.lengths)), 4), "rate": round(rate, 4),
        }  # fmt: skip
        self._append(entry)

    def check(self, progress: Progress, found: dict[int, float]) -> None:
        """Note what a look at validation samples gave.

        Args:
            progress: When it was.
            found: Share of right answers by ratio.
        """
        self._append({"step": progress.step, "seconds": round(progress.seconds, 1), "check": found})

    def line(self, progress: Progress, part: float, stage: str) -> str:
        """Return a line of progress.

        Args:
            progress: How far the run is.
            part: The same as a share of the run.
            stage: In which it is.
        """
        pace = progress.seconds / max(1, progress.step)
        left = progress.seconds * (1 - part) / part if part else 0.0
        return (
            f"step {progress.step}  stage {stage}  loss {progress.mean_loss:.3f}  {pace:.1f} s/step  "
            f"{part:.0%}, {_clock(left)} to go"
        )

    def plot(self) -> bool:
        """Draw loss and validation curves; return False where matplotlib is not installed."""
        try:
            from matplotlib.figure import Figure
        except ImportError:
            return False
        entries = read_log(self._output)
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        steps = [entry for entry in entries if "loss" in entry]
        left.plot([entry["step"] for entry in steps], [entry["mean_loss"] for entry in steps])
        left.set(title="Training loss (running mean)", xlabel="step", ylabel="cross-entropy per token")
        checks: dict[str, list[tuple[int, float]]] = defaultdict(list)
        for entry in entries:
            for ratio, share in entry.get("check", {}).items():
                checks[ratio].append((entry["step"], share))
        for ratio, points in sorted(checks.items(), key=lambda item: int(item[0])):
            name = f"ratio {ratio}" if ratio != "0" else "uncompressed text"
            right.plot(*zip(*points, strict=True), marker=".", label=name)
        right.set(title="Validation: answers predicted correctly", xlabel="step", ylim=(0, 1))
        if checks:
            right.legend()
        figure.savefig(self._output / "curves.png", dpi=110)
        return True

    def _append(self, entry: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")


def read_log(output: Path) -> list[dict[str, Any]]:
    """Return the entries of a run's log; none if there is none. A line that a killed run left unfinished is left out.

    Args:
        output: Folder of the run.
    """
    try:
        lines = (output / _NAME).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("}")]


def loss_change(output: Path) -> tuple[float, float]:
    """Return the mean loss of a run's first third and of its last.

    Args:
        output: Folder of the run.

    Raises:
        TrainingError: If it has fewer than three steps.
    """
    losses = [entry["loss"] for entry in read_log(output) if "loss" in entry]
    third = len(losses) // 3
    if not third:
        raise TrainingError(f"The run in {output} has {len(losses)} steps, too few to tell whether its loss falls.")
    return sum(losses[:third]) / third, sum(losses[-third:]) / third


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
