"""Evidence is what the decoder thought before any grammar; confidence is made of it."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from rcc_integrations.config import NOT_STATED, RCCConfig
from rcc_integrations.errors import ConfigError
from rcc_integrations.model.confidence import confidence
from rcc_integrations.model.evidence import Evidence
from rcc_integrations.model.grammar import Grammar
from rcc_integrations.model.options import GenerationOptions


def write(model, **more):
    prefix = model.prefix(model.compress([[1, 2, 3, 4, 5]]))
    return model.generate([prefix] * 2, [model.question_ids("Who sails?"), model.question_ids("When?")],
                          GenerationOptions(max_new_tokens=6, min_new_tokens=2), **more)  # fmt: skip


def test_evidence_is_the_decoders_own(model):
    asked = model.question_ids("Who sails?")
    (made,) = model.generate([model.text_prefix()], [asked], GenerationOptions(max_new_tokens=6))
    read = [*model.token_ids(model.config.prefix_text, special=True), *asked, *made.ids]
    with torch.no_grad():
        said = model.decoder(input_ids=torch.tensor([read])).logits[0].log_softmax(-1)
    first = len(read) - len(made.ids) - 1
    wanted = [float(said[first + place, token]) for place, token in enumerate(made.ids)]
    assert made.evidence.tokens == pytest.approx(wanted, abs=1e-4)
    assert made.evidence.declined == pytest.approx(float(said[first, model.token_ids(NOT_STATED)[0]]), abs=1e-4)


def test_a_grammar_does_not_change_what_the_decoder_thought(model):
    held = Grammar.regex("[0-9]{3}")
    free, alone = write(model), write(model, grammars=[held, None])
    assert [each.evidence.declined for each in free] == pytest.approx([each.evidence.declined for each in alone])
    assert alone[1].evidence.tokens == pytest.approx(free[1].evidence.tokens)
    assert len(alone[0].evidence.tokens) == len(alone[0].ids)
    # Digits were not what it would have written.
    assert alone[0].evidence.tokens[0] < free[0].evidence.tokens[0]


def test_confidence_falls_with_doubt():
    sure, unsure = Evidence((-0.1, -0.1), -8.0), Evidence((-2.0, -1.0), -0.5)
    for weights in ((), (-1.3, -0.6, 0.6, 1.1)):
        assert 0 <= confidence(unsure, weights) < confidence(sure, weights) <= 1
    assert confidence(Evidence((-math.inf,), -math.inf), (500.0, -50.0, 50.0, 0.0)) <= 1
    assert confidence(Evidence((), 0.0), (-900.0, 90.0, -90.0, 1.0)) >= 0


def test_weights_are_kept_and_checked(model):
    config = dataclasses.replace(model.config, confidence=(1.0, -2.0, 0.5, 1.0))
    assert RCCConfig.from_json(config.to_json()) == config
    for wrong in ((1.0,), (1.0, 2.0, 3.0, float("nan")), (1.0, 2.0, 3.0, "4")):
        with pytest.raises(ConfigError, match="four finite numbers"):
            dataclasses.replace(model.config, confidence=wrong)
