from __future__ import annotations

import dataclasses
from random import Random

import numpy as np
import pytest
import torch

from rcc_integrations.config import NOT_STATED
from rcc_integrations.errors import ConfigError, DataError
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.training import Question, Sample
from rcc_integrations.training.routing import fit_routing, memory_levels
from rcc_integrations.training.routing_features import RoutingFeatures
from rcc_integrations.training.routing_mixture import ScoredQuestion, fit_mixture, score_questions
from rcc_integrations.training.routing_trainer import RoutingSettings, RoutingTrainer, late_interaction
from tests.tiny import tiny_model

WORDS = [
    "ferry",
    "warden",
    "library",
    "pilot",
    "storm",
    "bell",
    "ticket",
    "euros",
    "leave",
    "harbour",
    "soup",
    "bakery",
]


def samples(count: int, task: str = "facts") -> list[Sample]:
    """Documents that name things by numbers; the question repeats the name."""
    made = []
    for number in range(count):
        chance = Random(f"{task}{number}")
        names = [f"{chance.choice(WORDS)} {chance.randint(100, 999)}" for _ in range(4)]
        values = [str(chance.randint(1000, 9999)) for _ in names]
        text = " ".join(f"The {name} has the code {value}, as everybody on the island of Holm knows well."
                        for name, value in zip(names, values, strict=True))  # fmt: skip
        questions = [Question(f"What is the code of the {name}?", (value,))
                     for name, value in zip(names, values, strict=True)]  # fmt: skip
        made.append(Sample(text, (*questions, Question("Who?", (NOT_STATED,))), task, f"{task}-{number}"))
    return made


@pytest.fixture(scope="module")
def model():
    return tiny_model(window=32, base={"num_hidden_layers": 3})


@pytest.fixture(scope="module")
def head(model):
    torch.manual_seed(0)
    return RoutingHead.of(model.spec, (0, 1, 2), (1,), 16)


@pytest.fixture(scope="module")
def features(model, head):
    return RoutingFeatures.read(model, head, samples(30), 2)


def test_features_name_the_windows_that_hold_an_answer(model, head, features):
    assert len(features.asked) == 30 * 4 == len(features.questions) == len(features.hard)
    assert features.owners == sorted(features.owners)
    for question, document, answers, hard in zip(
        features.asked, features.documents, features.answers, features.hard, strict=True
    ):
        value = next(each.answers[0] for each in samples(30)[document].questions if each.q == question)
        for text in (features.texts[number] for number in answers):
            # An answer may go on in the next window.
            assert value in text or any(text.endswith(value[:cut]) for cut in range(1, len(value)))
        assert all(features.owners[number] == document for number in answers)
        assert hard and all(features.owners[number] != document for number in hard)
    assert features.windows[0].shape[1] == head.key.in_features and features.windows[0].dtype == np.float16


def test_an_answer_that_crosses_windows_belongs_to_the_whole_document(model, head):
    sample = Sample(samples(1)[0].text, (Question("Why?", ("it is nowhere",)),))
    read = RoutingFeatures.read(model, head, [sample, samples(2)[1]], 2)
    assert read.answers[0] == [number for number, owner in enumerate(read.owners) if owner == 0]


def test_documents_without_an_answered_question_are_an_error(model, head):
    with pytest.raises(DataError, match="there is none"):
        RoutingFeatures.read(model, head, [Sample("A text.", (Question("Who?", (NOT_STATED,)),))], 2)


def test_late_interaction_is_what_the_router_computes(model, head, features):
    scored = score_questions(head, [features])
    exact = late_interaction(head, features.windows, features.questions[:5]).mean(0).detach().numpy()
    for row in range(5):
        assert (
            np.abs(scored[row].parts[:, 0] - exact[row]).max() < 0.06
        )  # components are rounded, and cut at half the length, in int8


def test_gradients_are_those_of_the_maximum(model, head, features):
    head.requires_grad_(True)
    windows, questions = features.windows[:4], features.questions[:2]
    late_interaction(head, windows, questions).sum().backward()
    fast = head.key.weight.grad.clone()
    head.zero_grad()
    total = torch.zeros(())
    for question in questions:
        asked, weights = head.question_codes(torch.from_numpy(question).float())
        for window in windows:
            codes = head.entry_codes(torch.from_numpy(window).float())
            best = torch.einsum("tpc,epc->tpe", asked, codes).amax(-1)
            total = total + ((best * weights).sum(0) / weights.sum(0)).sum()
    total.backward()
    assert torch.allclose(fast, head.key.weight.grad, atol=1e-5)
    head.zero_grad()
    head.requires_grad_(False)


def test_training_brings_answering_windows_to_the_front(model):
    torch.manual_seed(0)
    head = RoutingHead.of(model.spec, (0, 1, 2), (1,), 16)
    features = RoutingFeatures.read(model, head, samples(24), 2)

    def mean_rank() -> float:
        return float(np.mean([each.rank((1, 0, 0, 0)) for each in score_questions(head, [features])]))

    before = mean_rank()
    RoutingTrainer(head, [features], RoutingSettings(steps=100, documents=12)).run()
    assert mean_rank() < 0.7 * before
    assert not any(weight.requires_grad for weight in head.parameters())


def test_a_mixture_takes_what_tells_and_nothing_below_zero():
    chance = np.random.default_rng(0)
    questions = []
    for _ in range(60):
        parts = chance.random((10, 4)).astype(np.float32)
        answer = int(chance.integers(10))
        parts[answer, 0] += 0.5
        parts[answer, 1] -= 0.2
        questions.append(ScoredQuestion(parts, [answer]))
    head = RoutingHead.of(tiny_model().spec, (0,), (1,), 8)
    before = np.mean([each.rank((1, 1, 1, 1)) for each in questions])
    fit_mixture(head, questions)
    weights = head.mixture.tolist()
    assert min(weights) >= 0 and weights[0] > 3 > weights[1]
    assert np.mean([each.rank(weights) for each in questions]) < before


def test_fitting_a_model_covers_its_ratios(model):
    focused = tiny_model(placement="focused", layers=(2, 1, 3, 0), base={"num_hidden_layers": 4}, ratios=(1, 2, 4))
    assert memory_levels(focused, focused.layout(2)) == (1, 2)
    lines: list[str] = []
    fitted = fit_routing(
        focused, samples(40) + samples(24, "own"), settings=RoutingSettings(steps=3), width=8, report=lines.append
    )
    assert [(each.head.levels, each.ratios) for each in fitted] == [((2,), (1, 2, 4))]
    assert fitted[0].questions > 0 and 0 <= fitted[0].recall[0] <= fitted[0].recall[1] <= fitted[0].recall[2] <= 1
    assert lines
    main = dataclasses.replace(focused.config, ratio=2)
    from rcc_integrations import RCCModel

    again = fit_routing(RCCModel(main, focused.parts), samples(40), settings=RoutingSettings(steps=2), width=8)
    assert [(each.head.levels, each.ratios) for each in again] == [((1, 2), (1, 2)), ((2,), (4,))]


def test_too_few_documents_are_an_error(model):
    with pytest.raises(DataError, match="too few to fit"):
        fit_routing(model, samples(3), settings=RoutingSettings(steps=1))


def test_features_of_fewer_levels_are_columns_of_the_others(model):
    focused = tiny_model(placement="focused", layers=(2, 1, 3, 0), base={"num_hidden_layers": 4}, window=32)
    wide, narrow = (RoutingHead.of(focused.spec, levels, (1,), 8) for levels in ((1, 2, 3), (1, 3)))
    read = RoutingFeatures.read(focused, wide, samples(4), 1)
    again = RoutingFeatures.read(focused, narrow, samples(4), 1)
    for mine, theirs in zip(read.of_levels(wide, narrow).windows, again.windows, strict=True):
        assert np.array_equal(mine, theirs)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"documents": 0}, {"learning_rate": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError, match="must be above 0"):
        RoutingSettings(**wrong)
