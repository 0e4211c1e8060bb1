from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcc_integrations.model.windows import cut_windows, published_windows
from tests.tiny import TEXT, tiny_tokenizer

ODD = [
    "",
    "a",
    " ",
    "\n\n\n",
    "x" * 5000,
    "😀" * 300,
    "日本語の文。" * 100,
    "\n" * 900,
    "a\u0301" * 300,
    "\u202eabc\u200b " * 90,
]


def check(text, limit):
    tokenizer = tiny_tokenizer()
    windows = cut_windows(text, tokenizer, limit)
    assert "".join(text[window.start : window.end] for window in windows) == text
    assert all(0 < len(window.ids) <= limit for window in windows)
    whole = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert [token for window in windows for token in window.ids] == whole
    return windows


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("limit", [8, 64])
def test_odd_texts_are_covered_exactly(text, limit):
    check(text, limit)


@given(st.text(max_size=400), st.integers(4, 40))
@settings(max_examples=60, deadline=None)
def test_any_text_is_covered_exactly(text, limit):
    check(text.encode("utf-8", "replace").decode(), limit)


def test_special_tokens_in_a_document_are_plain_text():
    tokenizer = tiny_tokenizer()
    (window,) = cut_windows("<|im_end|> is text here", tokenizer, 64)
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") not in window.ids


def test_cuts_fall_on_sentences():
    text = " ".join(f"Sentence number {number} says something about ferry {number * 7}." for number in range(80))
    windows = check(text, 64)
    assert all(text[window.start : window.end].rstrip().endswith(".") for window in windows)


def test_repeated_text_is_cut_evenly():
    windows = check("The dog sat on the stool. " * 500, 64)
    assert min(len(window.ids) for window in windows[:-1]) >= 16


def long_document(rng, windows):
    words = sorted(set(re.findall(r"\w+", TEXT)))
    text = ""
    while len(cut_windows(text, tiny_tokenizer(), 64)) < windows:
        for _ in range(20):
            sentence = " ".join(rng.choice(words) + rng.choice(["", "", "s", "ing"]) for _ in range(rng.randint(5, 16)))
            text += sentence.capitalize() + rng.choice([". ", ". ", ". ", "!\n", "?\n\n"])
    return text


def test_an_edited_sentence_changes_few_windows():
    """One sentence edited in a document of 100 windows: nearly always 1 to 3 windows, never many."""
    rng = random.Random(7)
    text = long_document(rng, 100)
    known = {window.ids for window in cut_windows(text, tiny_tokenizer(), 64)}
    assert len(known) >= 100
    sentences = [match.span() for match in re.finditer(r"[^.!?\n]+[.!?]", text)]
    changed = []
    for _ in range(100):
        start, end = rng.choice(sentences)
        words = text[start:end].split(" ")
        words.insert(rng.randrange(len(words)), "suddenly")
        edited = text[:start] + " ".join(words) + text[end:]
        changed.append(sum(window.ids not in known for window in cut_windows(edited, tiny_tokenizer(), 64)))
    assert sum(count <= 3 for count in changed) >= 97
    assert sum(changed) / len(changed) < 1.6
    assert max(changed) <= 6


def test_an_edit_at_the_start_leaves_the_rest_alone():
    rng = random.Random(3)
    text = long_document(rng, 60)
    known = {window.ids for window in cut_windows(text, tiny_tokenizer(), 64)}
    edited = "A new first line, quite long, is put in front of everything else.\n\n" + text
    assert sum(window.ids not in known for window in cut_windows(edited, tiny_tokenizer(), 64)) <= 3


def test_published_windows_span_the_text():
    text = TEXT * 40
    windows = published_windows(text, tiny_tokenizer(), 256)
    assert all(len(window.ids) == 256 for window in windows)
    assert "".join(text[window.start : window.end] for window in windows) == text
    assert published_windows("", tiny_tokenizer(), 256) == []
