from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcc_integrations.config import NOT_STATED
from rcc_integrations.errors import DataError
from rcc_integrations.training import Question, Sample
from rcc_integrations.training.batch import Company, asked, company_size, fit, make_batch
from rcc_integrations.training.packing import packed_rows
from tests.tiny import TEXT, tiny_model

MODEL = tiny_model(window=16)
SAMPLE = Sample(TEXT, (Question("When does the ferry leave?", ("7:45",)), Question("Who approves leave?", ("warden",))))


def text_of(windows: list[list[int]]) -> str:
    return MODEL.tokenizer.decode([token for window in windows for token in window])


@given(st.integers(0, 10**6), st.integers(1, 8))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_of_a_long_text_the_part_that_answers_is_kept(seed, most):
    windows, kept = fit(MODEL, SAMPLE, most, Random(seed))
    assert 0 < len(windows) <= most and kept.questions
    for question in kept.questions:
        assert question.answers[0] in text_of(windows)


def test_a_text_that_fits_is_kept_whole():
    windows, kept = fit(MODEL, SAMPLE, 1000, Random(0))
    assert kept is SAMPLE and [tuple(window) for window in windows] == [each.ids for each in MODEL.cut(TEXT)]


def test_a_continuation_keeps_the_end():
    sample = Sample(TEXT, (Question("Continue the text.", ("elsewhere",), "continue"),))
    windows, _ = fit(MODEL, sample, 2, Random(0))
    assert [tuple(window) for window in windows] == [each.ids for each in MODEL.cut(TEXT)][-2:]


def test_what_is_not_stated_stays_asked():
    sample = Sample(TEXT, (*SAMPLE.questions, Question("Who swims?", (NOT_STATED,), "unanswerable")))
    kept = fit(MODEL, sample, 1, Random(0))[1]
    assert [question.kind for question in kept.questions] == ["fact", "unanswerable"]


def test_texts_without_tokens_or_questions_are_said():
    with pytest.raises(DataError, match="The text of 'empty' has no tokens"):
        fit(MODEL, Sample("", SAMPLE.questions, id="empty"), 3, Random(0))
    with pytest.raises(DataError, match="'bare' has no question"):
        asked(MODEL, Sample(TEXT, (), id="bare"), 50)
    with pytest.raises(DataError, match=r"questions and answers may have 5 \(target_tokens\)"):
        asked(MODEL, SAMPLE, 5)


def test_as_many_questions_as_fit():
    whole = asked(MODEL, SAMPLE, 1000)
    assert [MODEL.tokenizer.decode(item.ids[item.answer :]) for item in whole] == ["7:45<|im_end|>", "warden<|im_end|>"]
    assert [item.ids[: item.answer] for item in whole] == [MODEL.question_ids(each.q) for each in SAMPLE.questions]
    assert len(asked(MODEL, SAMPLE, len(whole[0].ids) + 1)) == 1
    # An answer that is cut is not taught to end there.
    (cut,) = asked(MODEL, SAMPLE, len(whole[0].ids) - 2)
    assert cut.ids == whole[0].ids[:-2] and cut.answer == whole[0].answer


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 12), st.floats(0, 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_memory_holds_the_texts_own_windows_in_order(seed, most, own, distractors):
    other = Sample("Another text. It is short.", (Question("What is it?", ("short",)),))
    batch = make_batch(MODEL, [SAMPLE, other, other], 4, Random(seed), max_windows=most, max_own=own,
                       company=Company(distractors), target_tokens=80)  # fmt: skip
    for mine, memory in zip(batch.own, batch.memory, strict=True):
        assert len(mine) <= min(most, own) and len(memory) <= most and len(set(memory)) == len(memory)
        assert [number for number in memory if number in mine] == mine
        if not distractors:
            assert memory == mine
    assert sorted(number for each in batch.own for number in each) == list(range(len(batch.windows)))
    assert batch.tokens == sum(map(len, batch.windows)) + sum(len(item.ids) for each in batch.asked for item in each)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30), st.integers(60, 200))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_rows_hold_every_window_once(lengths, room):
    rows = packed_rows(lengths, room)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    assert all(rows) and len(rows) <= -(-sum(lengths) // room)
    assert max(sum(lengths[number] for number in row) for row in rows) <= room + 60


OTHER = Sample(
    "The mill of Varde grinds at night. Its wheel is of oak.", (Question("What is the wheel of?", ("oak",)),)
)
NEAR = Sample("Another ferry.", ())


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_hard_distractors_stand_beside_a_text_and_learn_nothing(seed):
    batch = make_batch(MODEL, [SAMPLE, OTHER], 4, Random(seed), max_windows=12, max_own=6, company=Company(1.0),
                       target_tokens=80, beside=[[NEAR], [NEAR, NEAR]])  # fmt: skip
    near = len(MODEL.cut(NEAR.text))
    assert batch.frozen == set(range(len(batch.windows) - 3 * near, len(batch.windows)))
    own = {number for each in batch.own for number in each}
    assert not own & batch.frozen and len(own) + len(batch.frozen) == len(batch.windows)
    for mine, memory in zip(batch.own, batch.memory, strict=True):
        assert set(mine) < set(memory) and len(set(memory)) == len(memory) <= 12


def test_an_absent_text_is_not_stated():
    batch = make_batch(MODEL, [SAMPLE, OTHER], 4, Random(1), max_windows=12, max_own=6,
                       company=Company(1.0, absent=1.0), target_tokens=80, beside=[[NEAR], [NEAR]])  # fmt: skip
    for mine, memory, questions in zip(batch.own, batch.memory, batch.asked, strict=True):
        assert memory and not set(mine) & set(memory)
        for item in questions:
            assert MODEL.tokenizer.decode(item.ids[item.answer :]) == f"{NOT_STATED}<|im_end|>"
            assert item.kind == "unanswerable"


def test_a_window_in_clear_text_stands_before_the_question_and_not_in_memory():
    seen = set()
    for seed in range(20):
        batch = make_batch(MODEL, [SAMPLE, OTHER], 4, Random(seed), max_windows=12, max_own=6,
                           company=Company(0.0, clear=1.0), target_tokens=80)  # fmt: skip
        for mine, memory, questions in zip(batch.own, batch.memory, batch.asked, strict=True):
            gone = set(mine) - set(memory)
            if len(mine) == 1:
                assert not gone  # without it nothing would be in memory
                continue
            (number,) = gone
            seen.add(number)
            front = batch.windows[number]
            assert all(item.ids[: len(front)] == front and item.answer > len(front) for item in questions)
    assert len(seen) > 1


def test_small_companies_are_as_frequent_as_large_ones():
    drawn = [company_size(16, Random(seed)) for seed in range(2000)]
    assert set(drawn) == set(range(1, 17))
    # Doublings are alike: 1, 2 to 3, 4 to 7, 8 to 15.
    shares = [sum(low <= size < 2 * low for size in drawn) / 2000 for low in (1, 2, 4, 8)]
    assert max(shares) - min(shares) < 0.06
