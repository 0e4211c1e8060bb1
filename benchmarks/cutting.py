"""What cutting into windows takes for texts without sentences: time for a length, and for twice the length.

`python -m benchmarks.cutting` prints a table. Time that grows with the length doubles; with its square, it grows
fourfold.
"""

from __future__ import annotations

import time

from rcc_integrations.model import packaged
from rcc_integrations.model.runtime import load_tokenizer, quiet
from rcc_integrations.model.windows import cut_windows

WINDOW = 128
#: Each with the characters of the shorter text.
TEXTS = {
    "& &": ("&", 400_000),
    "digits": ("1234567890", 2_500_000),
    "dots": (".", 5_000_000),
    "spaces and one letter": (" ", 5_000_000),
    "one long word": ("x", 2_500_000),
    "words without sentences": ("ferry harbour storm ", 2_500_000),
    "prose": ("The ferry leaves at 7:45. Nobody sails in a storm.\n", 2_500_000),
}


def seconds(text: str, tokenizer: object) -> float:
    """Return what cutting a text takes."""
    started = time.perf_counter()
    cut_windows(text, tokenizer, WINDOW)
    return time.perf_counter() - started


def main() -> None:
    """Print the table."""
    with quiet():
        tokenizer = load_tokenizer(packaged.locate().folder)
    seconds("warm up", tokenizer)
    print("| text | characters | seconds | twice the length | factor |\n| --- | ---: | ---: | ---: | ---: |")
    for name, (piece, length) in TEXTS.items():
        text = (piece * (length // len(piece)))[: length - 1] + "a"
        one, two = seconds(text, tokenizer), seconds(text + text, tokenizer)
        print(f"| {name} | {len(text):,} | {one:.1f} | {two:.1f} | {two / one:.1f} |", flush=True)


if __name__ == "__main__":
    main()
