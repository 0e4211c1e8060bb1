"""How well the default model answers the demo's questions: by ratio and by windows in memory.

Run: python -m benchmarks.answers [--ratios 1 2 4] [--windows 1 3 16]
Each line is the share of the questions in examples/questions.json whose answer contains an accepted one.
"""

from __future__ import annotations

import argparse
import json
import re
import string
import tempfile
from pathlib import Path

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.files import find_files

EXAMPLES = Path(__file__).parents[1] / "examples"


def normal(text: str) -> str:
    """Lower-case, drop ASCII punctuation and articles, squeeze spaces (as SQuAD does)."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def contains(answer: str, accepted: list[str]) -> bool:
    """Tell whether an accepted answer occurs in the answer as a run of whole words."""
    return any(f" {normal(one)} " in f" {normal(answer)} " for one in accepted)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratios", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 3, 16], help="0: all")
    parser.add_argument("--verbose", action="store_true")
    wanted = parser.parse_args()
    questions = json.loads((EXAMPLES / "questions.json").read_text(encoding="utf-8"))
    model = RCCModel.default()
    files, _ = find_files([EXAMPLES / "data"])
    print(f"{len(questions)} questions, {len(files)} documents")
    print("ratio  windows in memory  slots  contains")
    with tempfile.TemporaryDirectory() as folder, RCCReader.open(Path(folder, "memory"), model=model) as reader:
        for ratio in wanted.ratios:
            reader.add(f"r{ratio}", files, ratio=ratio, untrained=True)
            for most in wanted.windows:
                limit = most or 10_000
                answers = [
                    reader.ask(f"r{ratio}", one["question"], max_windows=limit, max_new_tokens=24) for one in questions
                ]
                right = [contains(a.text, one["answers"]) for a, one in zip(answers, questions, strict=True)]
                slots = sum(answer.usage.memory_slots for answer in answers) / len(answers)
                print(f"{ratio:5}  {most or 'all':>17}  {slots:5.0f}  {sum(right)} of {len(right)}", flush=True)
                if wanted.verbose:
                    for answer, one in zip(answers, questions, strict=True):
                        print(f"       {one['question']}  {answer.text!r}  ({one['answers'][0]})")


if __name__ == "__main__":
    main()
