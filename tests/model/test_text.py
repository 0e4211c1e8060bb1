from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcc_integrations.model.text import Detokenizer, TextCutter
from tests.tiny import tiny_tokenizer


@pytest.mark.parametrize(
    ("pieces", "stop", "expected"),
    [
        (["one t", "wo three"], ["two"], "one"),
        (["one ", "STOP", " more"], ["STOP", "ne"], "o"),
        (["aaab"], ["aab"], "a"),
        (["no stop at all"], ["xyz"], "no stop at all"),
        (["ends with a beginning: xy"], ["xyz"], "ends with a beginning: xy"),
        (["  padded", " text \n"], [], "padded text"),
        (["\n\n", "x"], ["\n\n"], "x"),
    ],
)
def test_cutting(pieces, stop, expected):
    cutter = TextCutter(stop)
    assert "".join([*(cutter.feed(piece) for piece in pieces), cutter.finish()]) == expected


@given(st.text("abc ", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_token_boundaries_do_not_matter(text, stop, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    cutter = TextCutter(stop)
    shown = "".join([*(cutter.feed(piece) for piece in pieces), cutter.finish()])
    whole = text.lstrip()
    ends = sorted((whole.find(one) + len(one), whole.find(one)) for one in stop if one in whole)
    assert shown == (whole[: ends[0][1]] if ends else whole).rstrip()


def test_a_marker_in_front():
    cutter = TextCutter(["<end>"], "assistant\n")
    assert [cutter.feed("the question<end>assis"), cutter.feed("tant\nyes"), cutter.feed("<end>no")] == ["", "yes", ""]
    without = TextCutter([], "assistant\n")
    assert without.feed("never marked") == ""
    assert without.finish() == "never marked"


@pytest.mark.parametrize("text", ["plain words here", "日本語😀 and Ünïcödé", "tabs\tand\nlines"])
def test_half_characters_are_held_back(text):
    tokenizer = tiny_tokenizer()
    detokenizer = Detokenizer(tokenizer)
    pieces = [detokenizer.feed(token) for token in tokenizer(text)["input_ids"]]
    assert "".join([*pieces, detokenizer.finish()]) == text
    assert not any("\ufffd" in piece for piece in pieces)
