"""What is trained equals what is used: the same memories, the same logits, in every family."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest
import torch

from rcc_integrations import RCCModel
from rcc_integrations.errors import ConfigError, ModelNotFoundError
from rcc_integrations.model.cache import roomy_cache, uneven_layers
from rcc_integrations.model.family import Family
from rcc_integrations.model.prefix import stack_prefixes
from rcc_integrations.training import Question, Sample
from rcc_integrations.training.batch import CLEAR, Batch, Company, make_batch
from rcc_integrations.training.learner import Learner
from tests.tiny import FAMILIES, TEXT, save_tiny_model

SAMPLES = [
    Sample(TEXT[:150], (Question("When?", ("7:45",)), Question("Who?", ("Ines Calder", "Calder")))),
    Sample(TEXT[60:], (Question("What is open?", ("The library",)),)),
]


def batch_of(model: RCCModel, ratio: int = 4, distractors: bool = True) -> Batch:
    batch = make_batch(
        model, SAMPLES, ratio, Random(1), max_windows=12, max_own=6, company=Company(), target_tokens=100
    )
    one, other = batch.own
    return dataclasses.replace(batch, memory=[[*other, *one], [*one, *other]]) if distractors else batch


def stir(learner: Learner) -> Learner:
    """Give the adapters and projections weights that matter: LoRA begins as nothing."""
    torch.manual_seed(5)
    for weight in learner.trained().values():
        torch.nn.init.normal_(weight.data, std=0.1)
    return learner


FORMS = {"focused": {}, "staggered": {"placement": "staggered"}, "residual": {"injection": "residual"}}


@pytest.fixture(params=[(family, form) for family in FAMILIES for form in FORMS], ids=lambda item: "-".join(item))
def learner(request, settings_for) -> Learner:
    family, form = request.param
    return stir(Learner(settings_for(family, **FORMS[form])))


def test_a_new_model_is_focused_unless_its_base_has_a_sliding_window(settings_for, tiny_folder):
    learner = Learner(settings_for())
    assert learner.model.config.placement == "focused" and sorted(learner.model.config.layers) == [0, 1, 2, 3]
    given = Learner(settings_for(layers=(1, 0, 3, 2))).model
    assert given.layout(2).levels == (0, 1) and given.layout(4).levels == (1,)
    sliding = str(tiny_folder("mistral", sliding_window=128))
    assert Learner(settings_for(base=sliding)).model.config.placement == "staggered"
    with pytest.raises(ConfigError, match="sliding window"):
        Learner(settings_for(base=sliding, placement="focused"))
    with pytest.raises(ConfigError, match="ratio 8 leaves no layer with memory"):
        Learner(settings_for(ratios={8: 1.0}))


def test_packed_windows_give_the_memories_of_single_ones(learner):
    windows = [list(window.ids) for window in learner.model.cut(TEXT)]
    assert len(windows) > 3
    for ratio in (1, 2, 4):
        packed = learner.compress(windows, ratio, frozen=True)
        plain = learner.model.compress(windows, ratio, untrained=True)
        for one, other in zip(packed, plain, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-4)


def test_questions_side_by_side_give_the_loss_of_one_by_one(learner):
    batch = batch_of(learner.model)
    assert [len(each) for each in batch.asked] == [2, 1]
    with torch.no_grad():
        together = learner(batch)
        losses, right = [], []
        for text, questions in enumerate(batch.asked):
            for item in questions:
                memories = [batch.memory[text]]
                single = dataclasses.replace(batch, memory=memories, own=[batch.own[text]], asked=[[item]])
                outcome = learner(single)
                losses.append(outcome.loss * outcome.tokens)
                right += outcome.right
                # The plain way: the whole question behind the prefix, read by transformers itself.
                memory = learner.compress([batch.windows[n] for n in memories[0]], batch.ratio)
                prefix = learner.model.prefix(memory, ratio=batch.ratio)
                assert outcome.loss == pytest.approx(plain_loss(learner.model, prefix, item), abs=1e-3)
    assert together.loss == pytest.approx(float(sum(losses)) / together.tokens, abs=1e-4)
    assert together.right == right


def plain_loss(model: RCCModel, prefix, item) -> float:
    stacked, ids = stack_prefixes([prefix]), torch.tensor([item.ids])
    cache = roomy_cache(stacked.keys, stacked.values, len(item.ids))
    positions = torch.arange(prefix.length, prefix.length + len(item.ids))[None]
    with uneven_layers(Family.of(model.decoder).layers, stacked.layers, stacked.extra):
        logits = model.decoder(input_ids=ids, position_ids=positions, past_key_values=cache).logits[0]
    target = torch.tensor(item.ids[item.answer :])
    return float(torch.nn.functional.cross_entropy(logits[item.answer - 1 : -1], target))


def test_gradients_reach_everything_that_is_trained(learner):
    learner(batch_of(learner.model, 2)).loss.backward()
    trained = learner.trained()
    assert {name.partition(".")[0] for name in trained} == {"encoder", "decoder", "projections"}
    for name, weight in trained.items():
        assert weight.grad is not None and bool(weight.grad.abs().sum() > 0), name
    frozen = [weight for weight in learner.parameters() if not weight.requires_grad]
    assert frozen and all(weight.grad is None for weight in frozen)


def test_a_saved_model_gives_the_same_memories_and_answers(learner, tmp_path):
    # What is saved is bfloat16: weights that are exactly so come back exactly.
    for weight in learner.trained().values():
        weight.data = weight.data.to(torch.bfloat16).float()
    learner.save(tmp_path / "model", ratio=4, ratios=(2, 4), max_windows=3)
    saved = RCCModel.from_pretrained(tmp_path / "model", device="cpu", dtype="float32", merge=False)
    assert (saved.config.ratio, saved.config.ratios, saved.config.max_windows) == (4, (2, 4), 3)
    windows = [list(window.ids) for window in saved.cut(TEXT)]
    for one, other in zip(learner.model.compress(windows, 4, untrained=True), saved.compress(windows, 4), strict=True):
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-4, atol=1e-4)
    again = Learner(dataclasses.replace(settings_of(learner), start=tmp_path / "model"))
    for name, weight in again.trained().items():
        torch.testing.assert_close(weight, learner.trained()[name], msg=name)


def settings_of(learner: Learner):
    from rcc_integrations.training import TrainSettings

    return TrainSettings(output="run", steps=1, ratios={2: 1.0, 4: 1.0}, device="cpu")


def test_texts_in_clear_are_read_whole(settings_for):
    learner = stir(Learner(settings_for()))
    batch = batch_of(learner.model, CLEAR, False)
    with torch.no_grad():
        found = float(learner(batch).loss)
        (item,) = batch.asked[1]
        text = [token for number in batch.own[1] for token in batch.windows[number]]
        alone = dataclasses.replace(batch, memory=[batch.memory[1]], own=[batch.own[1]], asked=[[item]])
        logits = learner.model.decoder(input_ids=torch.tensor([[*text, *item.ids]])).logits[0, len(text) :]
        plain = torch.nn.functional.cross_entropy(logits[item.answer - 1 : -1], torch.tensor(item.ids[item.answer :]))
        assert float(learner(alone).loss) == pytest.approx(float(plain), abs=1e-3)
    assert found > 0


def test_distillation_adds_what_the_full_text_says(settings_for):
    learner = stir(Learner(settings_for()))
    with torch.no_grad():
        batch, clear = batch_of(learner.model, 4, False), batch_of(learner.model, CLEAR, False)
        assert learner(batch, distil=0.5).loss > learner(batch).loss
        # One who reads the text in clear agrees with a reader of the text in clear.
        assert learner(clear, distil=0.5).loss == learner(clear).loss
        # At ratio 1 without training memory is the exact text, so the teacher adds nothing.
        fresh = Learner(settings_for())
        exact = batch_of(fresh.model, 1, False)
        exact = dataclasses.replace(exact, windows=[exact.windows[each[0]] for each in exact.own],
                                    own=[[0], [1]], memory=[[0], [1]])  # fmt: skip
        assert float(fresh(exact, distil=1.0).loss) == pytest.approx(float(fresh(exact).loss), abs=1e-3)
    learner(batch_of(learner.model, 2, False), distil=0.5).loss.backward()
    assert all(weight.grad is not None for weight in learner.trained().values())


def test_bfloat16_is_close_and_finite(settings_for):
    exact, rough = Learner(settings_for()), Learner(settings_for(), bf16=True)
    batch = batch_of(exact.model, 2)
    outcome = rough(batch)
    outcome.loss.backward()
    assert float(outcome.loss.detach()) == pytest.approx(float(exact(batch).loss.detach()), rel=0.1)
    assert all(bool(weight.grad.isfinite().all()) and weight.dtype == torch.float32
               for weight in rough.trained().values())  # fmt: skip


def test_a_start_keeps_its_layout(settings_for, tmp_path):
    start = save_tiny_model(tmp_path / "start", window=48, placement="last")
    learner = Learner(settings_for(start=start))
    assert (learner.model.config.window, learner.model.config.placement) == (48, "last")
    for name, value in (("window", 64), ("placement", "staggered"), ("injection", "residual"), ("base", "other"),
                        ("layers", (2, 1, 0))):  # fmt: skip
        with pytest.raises(ConfigError, match=f"has {name} .* which is kept"):
            Learner(settings_for(start=start, **{name: value}))
    with pytest.raises(ConfigError, match="from 0 to the window of 48"):
        Learner(settings_for(start=start, ratios={64: 1.0}))


def test_an_adapter_of_another_rank_contradicts(settings_for, tmp_path):
    Learner(settings_for(encoder_rank=4)).save(tmp_path / "start", ratio=4, ratios=(4,), max_windows=1)
    assert Learner(settings_for(start=tmp_path / "start", encoder_rank=4)).trained()
    with pytest.raises(ConfigError, match="has encoder_rank 4, which is kept; 8 was given"):
        Learner(settings_for(start=tmp_path / "start", encoder_rank=8))


def test_bases_that_cannot_be_are_said(settings_for):
    with pytest.raises(ConfigError, match="window 2000 is longer than the 1024 positions"):
        Learner(settings_for(window=2000))
    with pytest.raises(ModelNotFoundError):
        Learner(settings_for(base="./nowhere/at/all"))
