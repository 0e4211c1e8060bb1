from __future__ import annotations

import pytest

from rcc_integrations.errors import ConfigError, DataError
from rcc_integrations.evaluation.datasets import DECLINES, answer_place, composed, from_file, limited
from rcc_integrations.model.windows import Window
from rcc_integrations.training.data.files import write_samples
from rcc_integrations.training.data.sample import Question, Sample


def test_composed_has_the_questions_asked_for_and_is_repeatable():
    samples = composed(120, seed=3)
    questions = [question for sample in samples for question in sample.questions]
    assert len(questions) == 120 and {sample.task for sample in samples} == {"composed"}
    assert samples == composed(120, seed=3) != composed(120, seed=4)
    assert composed(40, seed=3)[:5] == samples[:5]
    silent = [question for question in questions if question.kind == "unanswerable"]
    assert silent and all(question.answers == DECLINES for question in silent)
    for sample in samples:
        for question in sample.questions:
            if question.kind != "unanswerable":
                assert question.answers[0].lower() in sample.text.lower()
    with pytest.raises(ConfigError, match="at least 1"):
        composed(0)


def test_a_file_names_its_set(tmp_path, samples):
    path = tmp_path / "mine.jsonl"
    write_samples(path, samples)
    read = from_file(path)
    assert [sample.text for sample in read] == [sample.text for sample in samples]
    assert {sample.task for sample in read} == {"mine"}
    write_samples(path, [Sample("Only a text.", ())])
    with pytest.raises(DataError, match="asks nothing"):
        from_file(path)


def test_limited_takes_documents_in_turn_and_keeps_all(samples):
    cut = limited(samples, 4)
    assert [sample.text for sample in cut] == [sample.text for sample in samples]
    assert [len(sample.questions) for sample in cut] == [2, 1, 1]
    assert cut[0].questions == samples[0].questions[:2]
    assert limited(samples, 99) == samples


def test_limited_keeps_equal_questions_of_a_document():
    twice = Sample("Text.", (Question("Why?", ("so",)), Question("Why?", ("so",))))
    assert limited([twice], 2) == [twice]


def test_answer_place():
    text = "alpha beta gamma delta epsilon zeta"
    whole = [Window(0, len(text), (1,))]
    assert answer_place(text, whole, "ALPHA") == "first third"
    assert answer_place(text, whole, "gamma") == "middle third"
    assert answer_place(text, whole, "zeta") == "last third"
    halves = [Window(0, 17, (1,)), Window(17, len(text), (1,))]
    assert answer_place(text, halves, "gamma") == "last third"
    assert answer_place(text, halves, "delta") == "first third"


def test_answer_place_is_none_where_it_cannot_be_told():
    text = "7 of 27 boats, and 9 of 19 boats"
    windows = [Window(0, len(text), (1,))]
    assert answer_place(text, windows, "7") == "first third"
    assert answer_place(text, windows, "boats") is None
    assert answer_place(text, windows, "ships") is None
