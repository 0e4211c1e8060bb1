"""What a confidence is worth: which questions it declines, and how many of the answers given are right.

Run: python -m benchmarks.confidence [--documents 60] [--chart docs/confidence.png]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rcc_integrations import RCCModel
from rcc_integrations.cli.calibrate import THRESHOLDS
from rcc_integrations.evaluation import datasets
from rcc_integrations.evaluation.calibration import COLUMNS, Judged, answered, declining, questions
from rcc_integrations.evaluation.tables import markdown
from rcc_integrations.model.confidence import confidence

DATA = Path(__file__).parent / "data" / "dev_qa.jsonl"
#: Other documents than those that the default model was calibrated on.
SEED = 1


def ranked(judged: Sequence[Judged], weights: Sequence[float], *, right: bool) -> float:
    """Return how often, of one answer that is meant to be sure and one that is not, the first is the surer (ROC AUC).

    Args:
        judged: Answers.
        weights: Of the confidence.
        right: Whether right answers are meant to be sure; if not, those to answerable questions.
    """
    both: tuple[list[float], list[float]] = ([], [])
    for each in judged:
        both[each.right if right else each.answerable].append(confidence(each.evidence, weights))
    pairs = [(high > low) + 0.5 * (high == low) for high in both[1] for low in both[0]]
    return sum(pairs) / len(pairs) if pairs else float("nan")


def draw(found: dict[str, list[Judged]], weights: Sequence[float], path: Path) -> None:
    """Draw precision and recall of declining, and the share of right answers among those given."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, judged in found.items():
        rows = [declining(judged, weights, threshold / 50) for threshold in range(1, 50)]
        left.plot([row.recall for row in rows], [row.precision for row in rows], label=name)
        given = [row for row in rows if row.asked > row.declined]
        right.plot([1 - row.declined / row.asked for row in given],
                   [row.right / (row.asked - row.declined) for row in given], label=name)  # fmt: skip
    left.set(xlabel="recall: unanswerable questions declined", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    right.set(xlabel="share of questions answered", ylabel="share of these answered rightly", xlim=(0, 1),
              ylim=(0, 1.02))  # fmt: skip
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=60, help="composed documents")
    parser.add_argument("--chart", type=Path, help="where to draw the curves")
    parser.add_argument("--json", type=Path, help="where to keep the counts")
    options = parser.parse_args()
    model = RCCModel.default(device="cpu", dtype="float32")
    weights = model.config.confidence
    sets = {"composed": questions(options.documents, SEED), "dev_qa": datasets.from_file(DATA)}
    found = {name: answered(model, samples) for name, samples in sets.items()}
    for name, judged in found.items():
        print(f"\n{name}: {len(judged)} questions, {sum(not each.answerable for each in judged)} unanswerable. "
              f"Surer of a right answer than of another: {ranked(judged, weights, right=True):.2f}; of an answerable "
              f"question than of an unanswerable one: {ranked(judged, weights, right=False):.2f}.")  # fmt: skip
        for supported in (True, False):
            some = [each.right for each in judged if each.supported is supported]
            print(f"Answers that the text {'supports' if supported else 'does not support'}: {sum(some)} of "
                  f"{len(some)} right.")  # fmt: skip
        print()
        print(markdown(COLUMNS, [declining(judged, weights, threshold).cells() for threshold in THRESHOLDS]))
    if options.json:
        kept = {name: [{"answerable": each.answerable, "right": each.right,
                        "confidence": round(confidence(each.evidence, weights), 4)} for each in judged]
                for name, judged in found.items()}  # fmt: skip
        options.json.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    if options.chart:
        draw(found, weights, options.chart)


if __name__ == "__main__":
    main()
