from __future__ import annotations

import pytest
import torch

from rcc_integrations.model.slots import slot_count, slot_positions


def test_published_placement_takes_the_last_token_of_every_run():
    positions = slot_positions(2048, 32, levels=3, placement="last")
    assert positions.tolist() == [list(range(31, 2048, 32))] * 3


def test_staggered_levels_cover_every_token_of_a_run():
    positions = slot_positions(128, 4, levels=8, placement="staggered")
    assert positions.shape == (8, 32)
    for slot in range(32):
        assert set(positions[:, slot].tolist()) == set(range(4 * slot, 4 * slot + 4))


@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 127, 128])
@pytest.mark.parametrize("ratio", [1, 4, 8, 32])
@pytest.mark.parametrize("placement", ["last", "staggered"])
def test_short_windows(tokens, ratio, placement):
    positions = slot_positions(tokens, ratio, levels=5, placement=placement)
    assert positions.shape == (5, slot_count(tokens, ratio))
    assert positions[0, -1] == tokens - 1
    assert ((positions >= 0) & (positions < tokens)).all()


def test_ratio_one_takes_every_token_at_every_level():
    positions = slot_positions(7, 1, levels=4, placement="staggered")
    assert torch.equal(positions, torch.arange(7).expand(4, 7))
