"""Compress the documents in examples/data once, then ask questions about them in a new process.

Run: python examples/demo.py add && python examples/demo.py ask   (or: make demo)

Each question is answered from four memories. `base` is the base model without an adapter: its memories are its own
key/value caches of the windows, kept on disk. `ratio 1`, `ratio 2` and `ratio 4` are the default model with its trained
adapters: a slot stands for one, two or four tokens.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.files import find_files

HERE = Path(__file__).parent
STORE = HERE.parent / "build" / "demo-memory"
#: Collections with their ratio and the most windows in memory: a window of `base` is a whole document here, one of the
#: default model a few sentences.
COLLECTIONS = {"base": (1, 1), "ratio 1": (1, 1), "ratio 2": (2, 1), "ratio 4": (4, 1)}


def readers() -> dict[str, RCCReader]:
    """Open the demo's store once for each of the two models, and return the reader of each collection."""
    base = RCCReader.open(STORE, model=RCCModel.from_base("smollm2-135m-instruct"))
    trained = RCCReader.open(STORE)
    return {name: base if name == "base" else trained for name in COLLECTIONS}


def add() -> None:
    """Compress the documents into four collections."""
    shutil.rmtree(STORE, ignore_errors=True)
    files, skipped = find_files([HERE / "data"])
    for item in skipped:
        print(f"skipped: {item}")
    for name, reader in readers().items():
        report = reader.add(name, files, ratio=COLLECTIONS[name][0], show_progress=True)
        record = reader.store.collection(name)
        print(
            f"{name}: {len(report.added)} documents, {record.tokens} tokens in {record.windows} windows -> "
            f"{record.slots} slots, {report.seconds:.1f} s"
        )


def ask() -> None:
    """Ask all collections the questions of examples/questions.json."""
    questions = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    right = dict.fromkeys(COLLECTIONS, 0)
    opened = readers()
    for one in questions:
        print(f"\n{one['question']}   (expected: {one['answers'][0]})")
        for name, reader in opened.items():
            begun = time.perf_counter()
            answer = reader.ask(name, one["question"], max_new_tokens=24, max_windows=COLLECTIONS[name][1], sources=1)
            found = any(accepted.lower() in answer.text.lower() for accepted in one["answers"])
            right[name] += found
            source = answer.sources[0]
            print(
                f"  {name:<8} {'right' if found else 'wrong'}: {answer.text!r}\n"
                f"           source {source.document} [{source.start}:{source.end}], "
                f"{answer.usage.memory_slots} slots for {answer.usage.source_tokens} tokens, "
                f"first token {answer.timings.first_token * 1000:.0f} ms, all {time.perf_counter() - begun:.1f} s"
            )
    print("\nRight answers: " + ", ".join(f"{name} {count} of {len(questions)}" for name, count in right.items()))
    print("A 135M model is a weak reader; see the limits in README.md.")


if __name__ == "__main__":
    {"add": add, "ask": ask}[sys.argv[1] if len(sys.argv) > 1 else "add"]()
