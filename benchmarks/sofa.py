"""The question of the released example, asked from a store, at growing context lengths.

Run: python -m benchmarks.sofa
`exact` is the default model's base without an adapter (ratio 1): in windows as long as the document, and in windows of
256 tokens of which the router brings the best one into memory. The other rows are the default model.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from rcc_integrations import RCCModel, RCCReader

QUESTION = "Where does the cat sit?"


def main() -> None:
    """Print a line for every model, ratio and length."""
    exact = RCCModel.from_base("smollm2-135m-instruct", window=2048)
    routed = RCCModel.from_base("smollm2-135m-instruct", window=256, max_windows=1)
    default = RCCModel.default()
    rows = [("exact", exact, 1), ("routed", routed, 1), *(("default", default, ratio) for ratio in (1, 2, 4))]
    print("model    ratio  dogs  tokens  slots  right  answer")
    with tempfile.TemporaryDirectory() as folder:
        for name, model, ratio in rows:
            for dogs in (5, 20, 50, 100, 200, 280, 1000):
                text = "The cat sat on the sofa." + dogs * "The dog sat on the stool."
                collection = f"{name}-{ratio}-{dogs}"
                with RCCReader.open(Path(folder, "memory"), model=model) as reader:
                    reader.add(collection, {"seed.txt": text}, ratio=ratio, untrained=True)
                with RCCReader.open(Path(folder, "memory"), model=model) as reader:
                    answer = reader.ask(collection, QUESTION, max_new_tokens=12)
                    tokens = reader.store.collection(collection).tokens
                right = "yes" if "sofa" in answer.text else "no"
                shown = f"{answer.usage.memory_slots:5}  {right:<5}  {answer.text!r}"
                print(f"{name:<7}  {ratio:5}  {dogs:4}  {tokens:6}  {shown}", flush=True)


if __name__ == "__main__":
    main()
