"""The main job on real files: compress the documents under examples/data once, then ask them in a new process.

Run: python examples/demo.py add && python examples/demo.py ask   (or: make demo)

Two models answer beside one another. `exact` is the base model without an adapter: its memories are its own key/value
cache of every window (ratio 1), kept on disk. `compressed` is the default model with its trained adapter: one slot
stands for four tokens.
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
#: The most windows in memory: a window of `exact` is a whole document here, one of `compressed` a few sentences.
MOST = {"exact": 1, "compressed": 3}


def readers() -> dict[str, RCCReader]:
    """Open the demo's store once for each of the two models."""
    exact = RCCModel.from_base("smollm2-135m-instruct")
    return {"exact": RCCReader.open(STORE, model=exact), "compressed": RCCReader.open(STORE)}


def add() -> None:
    """Compress the documents into two collections."""
    shutil.rmtree(STORE, ignore_errors=True)
    files, skipped = find_files([HERE / "data"])
    for item in skipped:
        print(f"skipped: {item}")
    for name, reader in readers().items():
        with reader:
            report = reader.add(name, files, show_progress=True)
            record = reader.store.collection(name)
            print(
                f"{name}: {len(report.added)} documents, {record.tokens} tokens in {record.windows} windows -> "
                f"{record.slots} slots (ratio {record.model['ratio']}), {report.seconds:.1f} s"
            )


def ask() -> None:
    """Ask both collections the questions of examples/questions.json."""
    questions = json.loads((HERE / "questions.json").read_text(encoding="utf-8"))
    right = dict.fromkeys(("exact", "compressed"), 0)
    opened = readers()
    for one in questions:
        print(f"\n{one['question']}   (expected: {one['answers'][0]})")
        for name, reader in opened.items():
            begun = time.perf_counter()
            answer = reader.ask(name, one["question"], max_new_tokens=24, max_windows=MOST[name], sources=1)
            found = any(accepted.lower() in answer.text.lower() for accepted in one["answers"])
            right[name] += found
            source = answer.sources[0]
            print(
                f"  {name:<10} {'right' if found else 'wrong'}: {answer.text!r}\n"
                f"             source {source.document} [{source.start}:{source.end}], "
                f"{answer.usage.memory_slots} slots for {answer.usage.source_tokens} tokens, "
                f"first token {answer.timings.first_token * 1000:.0f} ms, all {time.perf_counter() - begun:.1f} s"
            )
    for reader in opened.values():
        reader.close()
    print("\nRight answers: " + ", ".join(f"{name} {count} of {len(questions)}" for name, count in right.items()))
    print("A 135M model reads poorly; README.md says what works today and what does not.")


if __name__ == "__main__":
    {"add": add, "ask": ask}[sys.argv[1] if len(sys.argv) > 1 else "add"]()
