"""What the LangChain integration costs over `RCCReader`, and what batching parallel calls brings, within one run.

Run: python -m benchmarks.langchain [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics
from statistics import median

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.langchain import RCCChatModel

TOKENS = 32
QUESTIONS = [f"What does the text say about {thing}?" for thing in (
    "names", "numbers", "lists", "strings", "loops", "errors", "modules", "classes")]  # fmt: skip


def overhead(reader: RCCReader, model: RCCChatModel, rounds: int) -> None:
    """Print how much longer an answer takes through LangChain."""
    options = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS}
    direct, through = [], []
    for number in range(rounds + 1):
        for question in QUESTIONS[:4]:
            begun = time.perf_counter()
            reader.ask("topics", question, **options)
            between = time.perf_counter()
            model.invoke(question)
            if number:  # the first round loads what both use
                direct.append(between - begun)
                through.append(time.perf_counter() - between)
    ratios = [mine / theirs for mine, theirs in zip(through, direct, strict=True)]
    print(f"overhead of RCCChatModel.invoke over RCCReader.ask, {TOKENS} tokens, median of {len(ratios)} pairs: "
          f"{median(ratios) - 1:+.1%} of {median(direct):.3f} s")  # fmt: skip


async def throughput(model: RCCChatModel, rounds: int) -> None:
    """Print how much faster parallel calls are than calls in sequence."""
    found = []
    for number in range(rounds + 1):
        begun = time.perf_counter()
        for question in QUESTIONS:
            await model.ainvoke(question)
        between = time.perf_counter()
        await asyncio.gather(*(model.ainvoke(question) for question in QUESTIONS))
        if number:
            found.append((between - begun) / (time.perf_counter() - between))
    print(f"8 parallel ainvokes against 8 in sequence, median of {rounds}: {median(found):.2f} times as fast")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    loaded = RCCModel.default(device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory() as folder, RCCReader.open(Path(folder, "memory"), model=loaded) as reader:
        reader.add("topics", {name: topics[name] for name in sorted(topics)[:6]})
        model = RCCChatModel(reader=reader, collection="topics", max_tokens=TOKENS, min_tokens=TOKENS)
        overhead(reader, model, rounds)
        asyncio.run(throughput(model, rounds))


if __name__ == "__main__":
    main()
