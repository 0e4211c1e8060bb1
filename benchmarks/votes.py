"""Answers over a whole collection: windows read together, or answered from one by one.

Run: python -m benchmarks.votes [--data FILE] [--ratio 4]
All documents of a set of questions go into one collection; each question is asked with several numbers of windows in
memory and with several votes, and in each way of choosing windows.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from rcc_integrations import RCCReader
from rcc_integrations.evaluation import datasets
from rcc_integrations.evaluation.metrics import best, contains, exact_match

#: Ways to ask, and their options.
WAYS: dict[str, dict[str, int]] = {
    "1 window": {"max_windows": 1},
    "3 windows": {"max_windows": 3},
    "vote 3": {"vote": 3},
    "vote 5": {"vote": 5},
    "vote 8": {"vote": 8},
}


def main() -> None:
    """Print a line for every way to choose and to read windows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("benchmarks/data/dev_qa.jsonl"))
    parser.add_argument("--ratio", type=int, default=4)
    arguments = parser.parse_args()
    samples = datasets.from_file(arguments.data)
    asked = [question for sample in samples for question in sample.questions if question.kind != datasets.UNANSWERABLE]
    with tempfile.TemporaryDirectory() as folder, RCCReader.open(Path(folder, "memory")) as reader:
        reader.add(
            "all", {f"{number}.txt": sample.text for number, sample in enumerate(samples)}, ratio=arguments.ratio
        )
        windows = reader.store.collection("all").windows
        print(f"{len(asked)} questions, {len(samples)} documents, {windows} windows in one collection")
        print("windows by  read       contains  exact  seconds a question")
        for routing in ("words", "both"):
            for way, options in WAYS.items():
                begun = time.perf_counter()
                answers = [reader.ask("all", question.q, routing=routing, max_new_tokens=40, **options).text
                           for question in asked]  # fmt: skip
                seconds = (time.perf_counter() - begun) / len(asked)
                pairs = list(zip(answers, asked, strict=True))
                held, exact = (sum(best(metric, text, question.answers) for text, question in pairs) / len(pairs)
                               for metric in (contains, exact_match))  # fmt: skip
                print(f"{routing:10}  {way:9}  {held:8.2f}  {exact:5.2f}  {seconds:8.2f}", flush=True)


if __name__ == "__main__":
    main()
