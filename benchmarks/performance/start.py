"""A new process, from its start to the first answer of the default model."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from benchmarks.performance.common import WORK, alone, best, row, shared_reader

_STEPS = """
import json, sys, time
import psutil
last, took = psutil.Process().create_time(), {}
def lap(name):
    global last
    now = time.time()
    took[name], last = now - last, now
lap("starting Python")
import torch; lap("importing torch")
import transformers; from transformers import PreTrainedModel; lap("importing transformers")
import peft; lap("importing peft")
from rcc_integrations.model import checkpoint, packaged, rcc_model; lap("importing the package")
from rcc_integrations import RCCReader
runtime = checkpoint.Runtime.choose(); base = packaged.locate().folder
inner = {}
def timed(name, work):
    def run(*arguments, **options):
        begun = time.time()
        try:
            return work(*arguments, **options)
        finally:
            inner[name] = inner.get(name, 0.0) + time.time() - begun
    return run
checkpoint.load_base = timed("loading the base", checkpoint.load_base)
checkpoint.load_tokenizer = timed("loading the tokenizer", checkpoint.load_tokenizer)
checkpoint.Adapter.on = timed("putting adapters on", checkpoint.Adapter.on)
with RCCReader.open(sys.argv[1], create=False) as reader:
    lap("opening the store")
    model = reader.model
    now = time.time(); rest = now - last - sum(inner.values()); last = now
    took |= inner; took["loading, the rest"] = rest
    answer = reader.ask("8k", "Which statement is described here?", max_new_tokens=32)
    answered = time.time()
    took["choosing windows, building the prefix"] = answer.timings.route + answer.timings.load
    took["first token"] = answer.timings.first_token - took["choosing windows, building the prefix"]
    took["the rest of the answer"] = answered - last - answer.timings.first_token
print(json.dumps(took))
"""


def start() -> list[dict[str, Any]]:
    """Measure the second start: a process of its own, step by step, and the whole of `rcc ask`."""
    alone(_make_store)
    command = [sys.executable, "-c", _STEPS, str(WORK / "store")]
    runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    took = min(runs[1:], key=lambda run: sum(run.values()))
    until = sum(took.values()) - took["the rest of the answer"]
    ask = ["--store", str(WORK / "store"), "ask", "8k", "Which statement is described here?", "--max-new-tokens", "1"]
    whole = best(
        lambda: subprocess.run([sys.executable, "-m", "rcc_integrations.cli", *ask], capture_output=True, check=True), 2
    )
    return [
        row("new process to first token of an answer, second start", until, f"{until:.2f} s", "as low as can be had"),
        *[row(f"… {name}", spent, f"{spent:.2f} s") for name, spent in took.items()],
        row("`rcc ask` for one token, the whole command", whole, f"{whole:.2f} s"),
    ]


def _make_store() -> None:
    with shared_reader():
        pass
