"""Mixtures, data of one's own, and files."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from rcc_integrations.errors import ConfigError, DataError
from rcc_integrations.training import Mixture, Question, Sample, read_samples, write_samples
from rcc_integrations.training.data.mixture import run_shares, shares_of
from rcc_integrations.training.data.own import OwnData

LONG = "The ferry leaves the quay of Holm at seven o'clock and comes back from Varde at nine in the evening."


def own_file(path: Path, count: int = 24) -> Path:
    questions = [{"q": f"Question {number}?", "answers": [f"answer {number}", "other"]} for number in range(5)]
    lines = [{"text": f"{LONG} It carries {number} people.", "questions": questions} for number in range(count)]
    path.write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return path


def test_a_number_gives_the_same_sample_always():
    first, second = (Mixture({"facts": 1.0}, seed=3) for _ in range(2))
    assert [first.sample(number) for number in range(5)] == [second.sample(number) for number in range(5)]
    assert first.sample(1) != first.sample(2)
    assert first.sample(1) != Mixture({"facts": 1.0}, seed=4).sample(1)


def test_shares_are_kept(tmp_path):
    mixture = Mixture({"facts": 3.0, "own": 1.0}, own=[own_file(tmp_path / "own.jsonl")])
    tasks = [mixture.sample(number).task for number in range(200)]
    assert 110 < tasks.count("facts") < 190
    assert {mixture.sample(number, {"own": 1.0}).task for number in range(20)} == {"own"}


def test_what_cannot_be_mixed_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no task 'fact'"):
        Mixture({"fact": 1.0})
    with pytest.raises(ConfigError, match="positive numbers"):
        Mixture({"facts": 0.0})
    with pytest.raises(DataError, match="no file with questions"):
        Mixture({"own": 1.0})
    with pytest.raises(ConfigError, match="not own"):
        Mixture({"facts": 1.0}).sample(0, {"own": 1.0})
    with pytest.raises(DataError, match="There is no"):
        Mixture({"own": 1.0}, own=[tmp_path / "nothing.jsonl"])


def test_an_export_reads_back_and_trains_without_its_sources(tmp_path):
    mixture = Mixture({"facts": 1.0, "own": 1.0}, own=[own_file(tmp_path / "own.jsonl")])
    samples = [mixture.sample(number) for number in range(60)]
    path = tmp_path / "sub" / "mixture.jsonl"
    assert write_samples(path, iter(samples)) == 60
    assert read_samples(path) == samples
    own = OwnData.read([path])
    assert {task: len(found) for task, found in own.samples.items()} == {
        task: sum(sample.task == task for sample in samples) for task in ("facts", "own")
    }
    again = Mixture({"facts": 1.0}, own=own)
    assert {again.sample(number).text for number in range(40)} <= {sample.text for sample in samples}


def test_own_texts_are_held_back_for_validation(tmp_path):
    own = OwnData.read([own_file(tmp_path / "own.jsonl", 60)])
    train, validation = own.part("train"), own.part("validation")
    assert not {each.text for each in train.samples["own"]} & {each.text for each in validation.samples["own"]}
    assert len(train.samples["own"]) + len(validation.samples["own"]) == 60
    assert not {each.text for each in train.passages} & {each.text for each in validation.passages}
    assert validation.notes == ()


def test_too_little_to_hold_back_is_used_twice_and_said(tmp_path):
    own = OwnData.read([own_file(tmp_path / "own.jsonl", 1)])
    assert own.part("train").samples == own.part("validation").samples
    assert "too little" in own.part("validation").notes[0]


def test_all_questions_of_a_text_get_their_turn(tmp_path):
    mixture = Mixture({"own": 1.0}, own=[own_file(tmp_path / "own.jsonl", 1)])
    assert {mixture.sample(number).questions[0].q for number in range(60)} == {f"Question {n}?" for n in range(5)}


def test_usual_shares_follow_the_data(tmp_path):
    none = OwnData.read([])
    assert set(shares_of("A", none)) == {"repeat", "continue"}
    assert set(shares_of("B", none)) == {"facts", "real", "repeat", "continue"}
    own = OwnData.read([own_file(tmp_path / "own.jsonl")])
    assert set(shares_of("A", own)) == {"repeat", "continue"}
    assert set(shares_of("B", own)) == {"own", "real", "repeat", "continue"}
    short = tmp_path / "short.jsonl"
    short.write_text(json.dumps({"text": "Ada won.", "questions": [{"q": "Who?", "answers": "Ada"}]}), "utf-8")
    assert shares_of("B", OwnData.read([short])) == {"own": 0.55}
    with pytest.raises(DataError, match="Stage A needs one of"):
        shares_of("A", OwnData.read([short]))
    shares = run_shares({"A": 1.0, "B": 3.0}, None, none)
    assert sum(shares.values()) == pytest.approx(1) and shares["facts"] == pytest.approx(0.75 * 0.55)
    assert run_shares({"A": 1.0}, {"facts": 2.0}, none) == {"facts": 1.0}


def test_folders_give_passages_and_say_what_they_leave_out(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.md").write_text(LONG * 3, encoding="utf-8")
    (docs / "short.txt").write_text("Short.", encoding="utf-8")
    (docs / "broken.txt").write_bytes(b"\0\1\2")
    own = OwnData.read([docs])
    assert own.tasks == {"real", "repeat", "continue"}
    assert sorted(note.split(":")[0].rpartition("/")[2] for note in own.notes) == ["broken.txt", "short.txt"]
    sample = Mixture({"repeat": 1.0}, own=own).sample(0)
    assert sample.id == "a.md" and sample.questions[0].answers[0] in LONG * 3


def test_an_empty_folder_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("Short.", encoding="utf-8")
    with pytest.raises(DataError, match="no document with a passage"):
        OwnData.read([tmp_path])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", ":1 is not JSON"),
        ('{"text": " "}', 'a non-empty "text"'),
        ('["text"]', 'a non-empty "text"'),
        ('{"text": "x", "questions": {"q": 1}}', "must be a list; it is dict"),
        ('{"text": "x", "questions": ["q"]}', "question 1 needs"),
        ('{"text": "x", "questions": [{"q": "q", "answers": []}]}', "question 1 needs"),
        ('{"text": "x", "questions": [{"q": "q", "answers": [" "]}]}', "question 1 needs"),
        ('{"text": "x", "questions": [{"q": " ", "answers": ["a"]}]}', "question 1 needs"),
        ("", "holds no samples"),
    ],
)
def test_a_broken_file_is_said_with_its_line(tmp_path, line, message):
    path = tmp_path / "own.jsonl"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_samples(path)


def test_an_answer_may_be_a_text_alone(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text('\n{"text": "x", "questions": [{"q": "q", "answers": "a"}]}\n\n', encoding="utf-8")
    (sample,) = read_samples(path)
    assert sample == Sample("x", (Question("q", ("a",)),), "own", "own.jsonl:2")
    with pytest.raises(DataError, match="cannot be read"):
        read_samples(tmp_path)


def test_a_hard_distractor_is_of_the_same_kind_and_answers_nothing():
    mixture = Mixture({"facts": 1.0})
    same = 0
    for number in range(40):
        sample = mixture.sample(number)
        other = mixture.beside(sample, Random(number))
        assert other.text != sample.text
        if other.id == sample.id:
            same += 1
            assert not other.facts & sample.facts
    assert same > 10


def test_a_hard_distractor_of_ones_own_data_is_of_the_same_group(tmp_path):
    path = tmp_path / "own.jsonl"
    texts = [Sample(f"Text {group}{number}.", (Question("Which?", (f"{group}{number}",)),), "own", f"{group}/{number}")
             for group in "ab" for number in range(20)]  # fmt: skip
    write_samples(path, texts)
    mixture = Mixture({"own": 1.0}, own=[path])
    for number in range(20):
        sample = mixture.sample(number)
        other = mixture.beside(sample, Random(number))
        assert other.text != sample.text and other.id[0] == sample.id[0]
