"""How many windows an edited sentence changes in a document of about 100 windows of real text.

Run: python -m benchmarks.locality
The text is the Python language reference as it comes with Python; windows are the default model's (128 tokens).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from pydoc_data.topics import topics

from rcc_integrations.model import packaged
from rcc_integrations.model.runtime import load_tokenizer
from rcc_integrations.model.windows import cut_windows

EDITS = 100


def main() -> None:
    """Print a line for every kind of edit."""
    tokenizer = load_tokenizer(packaged.locate().folder)
    whole = "\n\n".join(topics[name] for name in sorted(topics))
    documents = [whole[start : start + 29_000] for start in range(10_000, 310_000, 100_000)]
    rng = random.Random(0)
    sizes = [len(cut_windows(text, tokenizer, 128)) for text in documents]
    print(f"{len(documents)} documents of {sizes} windows, {EDITS} edits of each kind in each")
    print("edit                         mean  at most 3  most  distribution")
    for kind in ("a word put in", "a sentence replaced", "a sentence put in", "a sentence removed"):
        changed: list[int] = []
        for text in documents:
            known = {window.ids for window in cut_windows(text, tokenizer, 128)}
            sentences = [match.span() for match in re.finditer(r"[^.!?\n][^.!?]*[.!?](?=\s)", text)]
            words = text.split()
            for number in range(EDITS):
                start, end = rng.choice(sentences)
                sentence = text[start:end]
                if kind == "a word put in":
                    at = rng.randrange(len(sentence))
                    sentence = sentence[:at] + " extra " + sentence[at:]
                elif kind == "a sentence replaced":
                    sentence = " ".join(rng.choice(words) for _ in range(rng.randint(4, 25))) + "."
                elif kind == "a sentence put in":
                    sentence += f" A new sentence with number {number} stands here."
                else:
                    sentence = ""
                edited = cut_windows(text[:start] + sentence + text[end:], tokenizer, 128)
                changed.append(sum(window.ids not in known for window in edited))
        share = sum(count <= 3 for count in changed) / len(changed)
        spread = " ".join(f"{count}:{times}" for count, times in sorted(Counter(changed).items()))
        print(f"{kind:<27}  {sum(changed) / len(changed):4.2f}  {share:8.1%}  {max(changed):5}  {spread}", flush=True)


if __name__ == "__main__":
    main()
