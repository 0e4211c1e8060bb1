from __future__ import annotations

import pytest
import torch

from rcc_integrations.model.slots import SlotLayout


def layout(ratio: int, placement: str = "staggered", levels: int = 5) -> SlotLayout:
    return SlotLayout(ratio, placement, tuple(range(levels)))


def test_published_placement_takes_the_last_token_of_every_run():
    assert layout(32, "last", 3).sources(2048).tolist() == [list(range(31, 2048, 32))] * 3


def test_staggered_levels_cover_every_token_of_a_run():
    sources = layout(4, levels=8).sources(128)
    assert sources.shape == (8, 32)
    for slot in range(32):
        assert set(sources[:, slot].tolist()) == set(range(4 * slot, 4 * slot + 4))


def test_focused_levels_have_every_token_and_a_run_shares_a_position():
    focused = SlotLayout(4, "focused", (2, 7))
    assert focused.sources(10).tolist() == [list(range(10))] * 2
    assert focused.places(10).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert (focused.slots(10), focused.entries(10), focused.per_slot) == (3, 10, 4)


@pytest.mark.parametrize("tokens", [1, 3, 4, 5, 127, 128])
@pytest.mark.parametrize("ratio", [1, 4, 8, 32])
@pytest.mark.parametrize("placement", ["last", "staggered", "focused"])
def test_short_windows(tokens, ratio, placement):
    one = layout(ratio, placement)
    sources, places = one.sources(tokens), one.places(one.entries(tokens))
    assert sources.shape == (5, one.entries(tokens))
    assert sources[0, -1] == tokens - 1
    assert ((sources >= 0) & (sources < tokens)).all()
    assert places[0] == 0 and places[-1] == one.slots(tokens) - 1 == -(-tokens // ratio) - 1


@pytest.mark.parametrize("placement", ["last", "staggered", "focused"])
def test_ratio_one_takes_every_token_at_every_level(placement):
    assert torch.equal(layout(1, placement, 4).sources(7), torch.arange(7).expand(4, 7))
