from __future__ import annotations

import torch

from rcc_integrations.model.options import GenerationOptions
from tests.tiny import TEXT


def test_an_answer_is_written_behind_a_long_prefix_and_changes_nothing_of_it(model):
    ids = (model.token_ids(TEXT) * 20)[:640]
    windows = [ids[start : start + 64] for start in range(0, 640, 64)]
    prefix = model.prefix(model.compress(windows, 1), ratio=1)
    question, options = model.question_ids("Who approves leave?"), GenerationOptions(max_new_tokens=8, min_new_tokens=8)
    length = prefix.keys.shape[-2]
    assert prefix.room.keys.shape[-2] >= length + len(question) + 8
    keys, values = prefix.keys.clone(), prefix.values.clone()
    behind = prefix.room.keys[..., length:, :].fill_(7.0).clone()
    alone = model.generate([prefix], [question], options)[0]
    assert not torch.equal(prefix.room.keys[..., length:, :], behind)
    assert torch.equal(prefix.keys, keys)
    assert torch.equal(prefix.values, values)
    # Another generation has the room: what it wrote stays, and the answer is the same.
    behind = prefix.room.keys[..., length:, :].clone()
    with prefix.room.borrowed(length, torch.float32) as got:
        assert got
        assert model.generate([prefix], [question], options)[0].ids == alone.ids
    assert torch.equal(prefix.room.keys[..., length:, :], behind)
    # In a batch everything is copied.
    assert [each.ids for each in model.generate([prefix] * 2, [question] * 2, options)] == [alone.ids] * 2


def test_what_does_not_fit_into_the_room_is_copied(model):
    prefix = model.prefix(model.compress([model.token_ids(TEXT)[:60]], 1), ratio=1)
    question = model.question_ids("Who approves leave?")
    keys = prefix.room.keys.clone()
    assert (
        len(model.generate([prefix], [question], GenerationOptions(max_new_tokens=20, min_new_tokens=20))[0].ids) == 20
    )
    assert torch.equal(prefix.room.keys, keys)
