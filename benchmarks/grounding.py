"""What grounded answers, windows in clear and supporting places cost, as ratios within one run.

Run: python -m benchmarks.grounding [--tokens 2048] [--rounds 4]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median
from typing import Any

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.model.grammar import Guide
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.grounding import grounded_grammar
from rcc_integrations.routing.passage import Passage
from rcc_integrations.routing.support import find_support

#: Ways to answer; all are set beside the first.
WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "grounded": {"grounded": True},
    "expand=1": {"expand": 1},
    "expand=2": {"expand": 2},
    "grounded, expand=1": {"grounded": True, "expand": 1},
}
QUESTIONS = (
    "What does the assert statement do?",
    "When is a name bound?",
    "What is the type of an exception?",
    "How are attributes looked up?",
    "What may a class body contain?",
    "What happens in a loop?",
)


def taken(work: Callable[[], object]) -> float:
    """Return how long work took, in seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def per_token(answer: Answer) -> float:
    """Return the seconds of a token behind the first."""
    return (answer.timings.total - answer.timings.first_token) / max(1, answer.usage.answer_tokens - 1)


def index(model: RCCModel, text: str) -> None:
    """Print what the automaton of a text costs beside compressing the text."""
    windows = [window.ids for window in model.cut(text)]
    model.compress(windows[:1], 4)
    compressing = taken(lambda: model.compress(windows, 4))
    vocabulary = int(model.decoder.get_output_embeddings().weight.shape[0])
    # A guide of its own holds nothing ready yet.
    guide = Guide(model.tokenizer, vocabulary, model.parts.end_ids)
    passages = [Passage("a", 0, text)]
    building = taken(lambda: guide.matcher(grounded_grammar(passages)).compute_bitmask())
    again = taken(lambda: guide.matcher(grounded_grammar(passages)).compute_bitmask())
    supporting = taken(lambda: find_support("a name is bound by assignment", QUESTIONS[1], passages, 3))
    print(f"{sum(map(len, windows))} tokens, compressed at ratio 4 in {compressing:.2f} s:")
    for name, spent in (("automaton built", building), ("automaton at hand", again), ("support found", supporting)):
        print(f"  {name}: {1000 * spent:.1f} ms, {spent / compressing:.1%} of compressing; 0 bytes on disk")


def decoding(reader: RCCReader, rounds: int) -> None:
    """Print what each way costs beside a plain answer."""
    firsts: dict[str, list[float]] = defaultdict(list)
    agains: dict[str, list[float]] = defaultdict(list)
    tokens: dict[str, list[float]] = defaultdict(list)
    for number in range(rounds):
        for question in QUESTIONS:
            if not number:
                reader.ask("topics", question, max_new_tokens=1)  # brings the memories into the prefix cache
            plain = None
            for way, options in WAYS.items():
                answer = reader.ask("topics", question, max_new_tokens=24, **options)
                plain = plain or answer
                (agains if number else firsts)[way].append(answer.timings.first_token / plain.timings.first_token)
                if answer.usage.answer_tokens > 4 and plain.usage.answer_tokens > 4:
                    tokens[way].append(per_token(answer) / per_token(plain))
    print("beside a plain answer, medians: time to first token (first time, again), time of a token behind it")
    for way in WAYS:
        print(f"  {way}: {median(firsts[way]):.2f}, {median(agains[way]):.2f}; "
              f"{median(tokens[way]) if tokens[way] else float('nan'):.2f}")  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens of text")
    parser.add_argument("--rounds", type=int, default=4, help="how often each question is asked in each way")
    options = parser.parse_args()
    model = RCCModel.default(device="cpu", dtype="float32")
    whole = "\n\n".join(topics[name] for name in sorted(topics))
    ids = model.token_ids(whole[:400_000])
    for tokens in (384, options.tokens):
        index(model, model.tokenizer.decode(ids[:tokens]))
    with tempfile.TemporaryDirectory() as folder, RCCReader.open(Path(folder, "memory"), model=model) as reader:
        reader.add("topics", {"topics": model.tokenizer.decode(ids[: options.tokens])})
        decoding(reader, options.rounds)


if __name__ == "__main__":
    main()
