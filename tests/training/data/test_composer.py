from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rcc_integrations.config import NOT_STATED
from rcc_integrations.training.data.composer import Composer
from rcc_integrations.training.data.sample import Sample
from rcc_integrations.training.data.scenarios import scenarios

COMPOSERS = {split: Composer(split) for split in ("train", "validation")}


def check(sample: Sample) -> None:
    text = sample.text.lower()
    assert sample.questions and sample.task == "facts"
    for question in sample.questions:
        assert ("{" not in question.q and question.q[0].isupper()) or question.q[0].isdigit()
        if question.kind == "unanswerable":
            assert question.answers == (NOT_STATED,)
        else:
            assert question.answers[0].lower() in text, (question, sample.text)
    assert len({question.q for question in sample.questions}) == len(sample.questions)


@given(st.integers(0, 10**9), st.sampled_from(["train", "validation"]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_answers_stand_in_the_text(seed, split):
    check(COMPOSERS[split].sample(Random(seed)))


@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_scenario_composes(split):
    for number, scenario in enumerate(scenarios(split)):
        for turn in range(4):
            sample = COMPOSERS[split].sample(Random(f"{number}:{turn}"), scenario)
            assert sample.id == scenario.id
            check(sample)


def test_what_is_not_stated_is_not_there():
    composer = Composer("train", unanswerable=1.0)
    found = 0
    for seed in range(40):
        scenario = scenarios("train")[seed]
        sample = composer.sample(Random(seed), scenario)
        answers = {each.q: each.answers for each in sample.questions}
        # The same document with another answer would make the question answerable: none of its kind is asked as both.
        assert all(each.answers == (NOT_STATED,) for each in sample.questions if each.kind == "unanswerable")
        found += sum(value == (NOT_STATED,) for value in answers.values())
    assert found > 40


def test_the_same_seed_gives_the_same_sample():
    first, again = (COMPOSERS["train"].sample(Random(7)) for _ in range(2))
    assert first == again
    assert first != COMPOSERS["train"].sample(Random(8))


def test_documents_differ_in_form_and_length():
    samples = [COMPOSERS["train"].sample(Random(seed)) for seed in range(60)]
    lengths = sorted(len(sample.text) for sample in samples)
    assert lengths[0] * 4 < lengths[-1]
    assert len({sample.id for sample in samples}) > 30
    assert any("\n- " in sample.text or "\n* " in sample.text for sample in samples)
    assert any(len(sample.questions) > 5 for sample in samples)


def test_a_crowded_document_says_one_thing_many_times_and_asks_about_the_rest_too():
    crowded, plain = Composer("train", crowded=1.0), Composer("train", crowded=0.0)
    for seed in range(20):
        sample = crowded.sample(Random(seed))
        check(sample)
        alike = plain.sample(Random(seed))
        assert len(sample.text) > len(alike.text)
    assert Composer("validation", crowded=1.0).sample(Random(1)) == COMPOSERS["validation"].sample(Random(1))
