"""What finding windows by memory costs, at several sizes of a collection.

Run: python -m benchmarks.routing [--windows 200 --windows 10000 --windows 100000]
A question's codes and the scores of all windows are timed against a bare question, the same question without documents
up to its first token, in one run. The index is made of random codes in windows as long as those of the example
documents: speed does not depend on what they hold. The bytes of an index are measured on the example documents.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

import numpy as np

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.files import find_files
from rcc_integrations.memory.routing_index import RoutingIndex
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.routing.attention_router import AttentionRouter, QuestionCodes
from rcc_integrations.routing.mixture import mixed_scores

QUESTION = "Who may open the gate of the old harbour after the last ferry has left?"
#: Entries of a window: what windows of the example documents have on average.
ENTRIES = 70


def median(work: Callable[[], object], rounds: int) -> float:
    """Return the median of several durations, in seconds, after one that does not count."""
    work()
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def made_up(folder: Path, head: RoutingHead, windows: int) -> tuple[RoutingIndex, list[str]]:
    """Return an index of random codes on disk, and the keys of its windows."""
    chance = np.random.default_rng(0)
    index = RoutingIndex(folder, head.id, head.width)
    keys = [blake2b(str(number).encode(), digest_size=32).hexdigest() for number in range(windows)]
    for first in range(0, windows, 10_000):
        part = keys[first : first + 10_000]
        codes = chance.normal(0, 18, (len(part), ENTRIES, head.width)).clip(-127, 127).astype(np.int8)
        index.add(dict(zip(part, codes, strict=True)))
    return index, keys


def main() -> None:
    """Print a line for every size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, action="append")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    model = RCCModel.default()
    head = model.routing_head(model.config.ratio)
    assert head is not None
    ids, options = model.question_ids(QUESTION), GenerationOptions(max_new_tokens=1)
    bare = median(lambda: model.generate([model.text_prefix()], [ids], options), arguments.rounds)
    asked = median(lambda: model.question_codes(QUESTION, head), arguments.rounds)
    codes = QuestionCodes(*model.question_codes(QUESTION, head))
    print(f"bare question {1000 * bare:.0f} ms; codes of the question {1000 * asked:.0f} ms = {asked / bare:.2f}")
    print("windows   open s   scores ms   routing ÷ bare   MB on disk")
    with tempfile.TemporaryDirectory() as folder:
        for windows in arguments.windows or [200, 10_000, 100_000]:
            place = Path(folder, str(windows))
            _, keys = made_up(place, head, windows)
            begun = time.perf_counter()
            index = RoutingIndex(place, head.id, head.width)
            router = AttentionRouter(index.codes, *index.places(keys))
            opened = time.perf_counter() - begun
            owners = np.arange(windows) // 5

            def score(router: AttentionRouter = router, owners: np.ndarray = owners) -> np.ndarray:
                memory = router.scores(codes)
                return mixed_scores(head.mixture.tolist(), owners, range(len(owners)), memory, None)

            scored = median(score, arguments.rounds)
            print(f"{windows:7}  {opened:7.2f}  {1000 * scored:10.1f}  {(asked + scored) / bare:15.2f}  "
                  f"{index.nbytes / 1e6:11.1f}", flush=True)  # fmt: skip
        with RCCReader.open(Path(folder, "memory"), model=model) as reader:
            reader.add("examples", find_files(["examples/data"])[0])
            index = RoutingIndex(next(Path(folder, "memory", "routing").iterdir()), head.id, head.width)
            tokens = reader.store.collection("examples").tokens
            print(f"index of the example documents: {index.nbytes / tokens:.0f} bytes per source token")


if __name__ == "__main__":
    main()
