from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rcc_integrations import RCCModel
from rcc_integrations.errors import ConfigError, ModelError
from rcc_integrations.model.routing_head import FILE, RoutingHead, load_heads, save_heads
from tests.tiny import FAMILIES, TEXT, save_tiny_model, tiny_model

FORMS = {
    "kv": {},
    "focused": {"placement": "focused", "layers": (2, 1, 3, 0), "base": {"num_hidden_layers": 4}},
    "residual": {"injection": "residual", "placement": "last"},
}


def head_of(model: RCCModel, levels=(0, 2), seed: int = 0, width: int = 16) -> RoutingHead:
    torch.manual_seed(seed)
    return RoutingHead.of(model.spec, levels, (1,), width).eval().requires_grad_(False)


@pytest.mark.parametrize("form", FORMS)
def test_codes_are_the_nearest_int8_of_unit_vectors(form):
    model = tiny_model(**FORMS[form])
    head = head_of(model, levels=(1, 2))
    ratio = 2
    (memory,) = model.compress([list(range(10, 31))], ratio)
    features = head.features(memory, model.layout(ratio))
    assert features.shape == (model.layout(ratio).entries(21), head.key.in_features)
    codes = head.stored(memory, model.layout(ratio))
    assert codes.dtype == np.int8
    parts = head.entry_codes(features)
    assert parts.shape[1:] == (2, 8) and parts.norm(dim=-1).numpy() == pytest.approx(1)
    unit = parts.flatten(1).numpy()
    assert np.abs(codes / 127 - unit).max() <= 0.5 / 127 + 1e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_a_question_is_read_alike_alone_and_beside_others(family):
    from rcc_integrations.model.question_states import question_states

    model = tiny_model(family)
    questions = ["Who approves leave?", "When?", "", "Where was Ines Calder born, and who says so?"]
    with torch.no_grad():
        together = question_states(model.decoder, model.tokens, questions, (0, 2))
        for question, states in zip(questions, together, strict=True):
            (alone,) = question_states(model.decoder, model.tokens, [question], (0, 2))
            assert states.shape == (len(model.tokens.ids(question)), 2 * 32)
            assert torch.allclose(states, alone, atol=1e-5)


def test_a_questions_weights_sum_to_one_and_products_are_cosines():
    model = tiny_model()
    head = head_of(model)
    codes, weights = model.question_codes("Who approves leave?", head)
    assert weights.sum() == pytest.approx(1) and (weights > 0).all() and len(codes) == len(weights)
    assert np.linalg.norm(codes, axis=1) * 127 == pytest.approx(1)
    # Each part of a token stands alone.
    assert not codes[0::2, 8:].any() and not codes[1::2, :8].any()
    assert weights[0::2].sum() == pytest.approx(0.5)
    long, _ = model.question_codes(TEXT * 20, head)
    assert len(long) == 2 * 192


def test_heads_are_saved_with_a_model_and_change_no_fingerprint(tmp_path):
    folder = save_tiny_model(tmp_path / "model")
    model = RCCModel.from_pretrained(folder)
    before = model.fingerprint(4)
    assert model.parts.routing == () and model.routing_head(4) is None
    heads = (head_of(model, (0, 1, 2), 1), head_of(model, (2,), 2))
    heads[0].mixture[:] = torch.tensor([20.0, 1.5, 3.0, 0.5])
    save_heads(folder, heads)
    again = RCCModel.from_pretrained(folder)
    assert again.fingerprint(4) == before
    for mine, theirs in zip(heads, again.parts.routing, strict=True):
        assert theirs.levels == mine.levels and theirs.id == mine.id
        for name, tensor in mine.state_dict().items():
            assert torch.equal(theirs.state_dict()[name], tensor)
    again.save_pretrained(tmp_path / "copy")
    assert RCCModel.from_pretrained(tmp_path / "copy").parts.routing[1].id == heads[1].id
    save_heads(folder, ())
    assert RCCModel.from_pretrained(folder).parts.routing == ()


def test_the_head_that_reads_most_levels_serves_a_ratio():
    model = tiny_model(**FORMS["focused"])
    few, many = head_of(model, (2,)), head_of(model, (1, 2))
    model.parts.routing = (few, many)
    assert [model.routing_head(ratio) for ratio in (1, 2, 4)] == [many, many, few]
    model.parts.routing = (many,)
    assert model.routing_head(4) is None


def test_ids_follow_what_codes_depend_on_alone():
    model = tiny_model()
    head, same, other = head_of(model), head_of(model), head_of(model, seed=5)
    same.mixture[:] = 7
    same.question.weight.zero_()
    assert head.id == same.id != other.id != head_of(model, (0, 1)).id


@pytest.mark.parametrize("levels", [(), (2, 1), (0, 0), (-1,)])
def test_levels_that_cannot_be(levels):
    with pytest.raises(ConfigError, match="ascending numbers"):
        RoutingHead.of(tiny_model().spec, levels, (1,), 8)


def damage(path, how: str) -> None:
    if how == "cut":
        path.write_bytes(path.read_bytes()[:100])
        return
    tensors = load_file(path)
    metadata = {"format": "1", "heads": '[{"levels": [0, 2], "question_levels": [1], "parts": 2}]'}
    if how == "nan":
        tensors["0.key.bias"][0] = float("nan")
    elif how == "missing":
        del tensors["0.key.bias"]
    elif how == "level":
        metadata["heads"] = '[{"levels": [0, 9], "question_levels": [1], "parts": 2}]'
    elif how == "heads":
        metadata["heads"] = "[{}]"
    elif how == "shape":
        tensors["0.key.weight"] = torch.zeros(16, 3)
    save_file(tensors, path, metadata)


@pytest.mark.parametrize("how", ["cut", "nan", "missing", "level", "heads", "shape"])
def test_a_file_that_does_not_fit_is_refused(tmp_path, how):
    model = tiny_model()
    save_heads(tmp_path, [head_of(model)])
    damage(tmp_path / FILE, how)
    with pytest.raises(ModelError, match=FILE):
        load_heads(tmp_path, model.spec)


def test_heads_of_another_format_are_left_out(tmp_path):
    model = tiny_model()
    save_heads(tmp_path, [head_of(model)])
    save_file(load_file(tmp_path / FILE), tmp_path / FILE, {"format": "99", "heads": "?"})
    assert load_heads(tmp_path, model.spec) == []


@pytest.mark.parametrize(("width", "parts"), [(0, 1), (8, 0), (9, 2)])
def test_widths_that_cannot_be(width, parts):
    with pytest.raises(ConfigError, match="equal parts"):
        RoutingHead.of(tiny_model().spec, (0,), (1,), width, parts)
