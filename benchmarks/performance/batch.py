"""Questions asked in one batch against one by one."""

from __future__ import annotations

from typing import Any

from benchmarks.performance.common import best, row, shared_reader

_QUESTIONS = (
    "What does the assert statement do?",
    "How are attributes looked up?",
    "What is an augmented assignment?",
    "When is a name bound?",
    "What does a class definition execute?",
    "How do comparisons chain?",
    "What does the bool type stand for?",
    "How is an await expression used?",
)


def batch() -> list[dict[str, Any]]:
    """Measure answers of 32 tokens to 8 questions over 8k source tokens, as deployed (3 windows each)."""
    options = {"max_new_tokens": 32, "min_new_tokens": 32}
    with shared_reader() as reader:
        asked = [("8k", question) for question in _QUESTIONS]

        def together() -> None:
            reader.ask_batch(asked, **options)

        def apart() -> None:
            for collection, question in asked:
                reader.ask(collection, question, **options)

        together()
        ours, theirs = best(together, 2), best(apart, 2)
    ratio = theirs / ours
    shown = f"{ratio:.2f} ({8 / ours:.2f} and {8 / theirs:.2f} questions/s)"
    return [row("questions/s of 32 tokens, a batch of 8 ÷ one by one", ratio, shown, "≥ 2.5", ratio >= 2.5)]
