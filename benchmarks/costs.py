"""What compressed memory costs and saves, as ratios within one run.

Run: python -m benchmarks.costs [--tokens 2048]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import psutil
import torch

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.model.options import GenerationOptions

FIRST = GenerationOptions(max_new_tokens=1, min_new_tokens=1)


def best(work: Callable[[], object], times: int = 3) -> float:
    """Return the shortest of some runs, in seconds."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        found.append(time.perf_counter() - begun)
    return min(found)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=2048, help="tokens of text")
    tokens = parser.parse_args().tokens
    memory = psutil.virtual_memory().total / 2**30
    print(
        f"machine: {os.cpu_count()} cores, {memory:.0f} GiB; torch on {torch.get_num_threads()} threads, CPU, float32"
    )
    model = RCCModel.default(device="cpu", dtype="float32")
    whole = "\n\n".join(topics[name] for name in sorted(topics))
    ids = model.tokenizer(whole[:400_000], verbose=False)["input_ids"][:tokens]
    text = model.tokenizer.decode(ids)
    windows = [window.ids for window in model.cut(text)]
    count = sum(map(len, windows))
    full = torch.tensor([ids[: 8 * 128]]).view(8, 128)

    with torch.no_grad():
        bare = best(lambda: model.encoder(input_ids=full, use_cache=False)) / full.numel()
    compress = best(lambda: model.compress(windows, 4), 2) / count
    print(f"compression: {1 / compress:.0f} tokens/s; bare forward pass of the encoder, full windows: {1 / bare:.0f}")
    print(f"             ratio {bare / compress:.2f}")

    with tempfile.TemporaryDirectory() as folder, RCCReader.open(Path(folder, "memory"), model=model) as reader:
        for ratio in (4, 8):
            for storage in ("int8", "bfloat16"):
                name = f"{storage} at ratio {ratio}"
                before = reader.store.stats()
                reader.add(name, {"text": text}, ratio=ratio, storage=storage, untrained=True)
                after = reader.store.stats()
                size = after.blob_bytes - before.blob_bytes + len(text.encode())
                print(f"on disk, {name}: {size / count:.0f} bytes a source token (memories and text)")
        question = "Which statement is described here?"
        asked = model.question_ids(question)
        empty = model.text_prefix()
        alone = best(lambda: model.generate([empty], [asked], FIRST))
        everything = {"max_windows": 10**6, "max_new_tokens": 1, "min_new_tokens": 1}
        begun = time.perf_counter()
        reader.ask("int8 at ratio 4", question, **everything)
        cold = time.perf_counter() - begun
        warm = best(lambda: reader.ask("int8 at ratio 4", question, **everything))
        plain = [*model.tokenizer(model.config.prefix_text)["input_ids"], *ids, *asked]
        prefill = best(lambda: model.generate([model.empty_prefix()], [plain], FIRST), 2)
    print(f"time to first token over {count} source tokens (ratio 4, all windows):")
    print(
        f"  first time {cold / alone:.2f}, again {warm / alone:.2f} times a question without documents ({alone:.3f} s)"
    )
    print(
        f"  reading the full text instead: {prefill / cold:.1f} times the first, {prefill / warm:.1f} times the second"
    )


if __name__ == "__main__":
    main()
