"""Where the slots of a window are, and which token each level of a slot is taken from."""

from __future__ import annotations

import torch
from torch import Tensor

from rcc_integrations.config import Placement


def slot_count(tokens: int, ratio: int) -> int:
    """Return how many slots a window of `tokens` tokens has: one a run of `ratio`, the last run may be shorter."""
    return -(-tokens // ratio)


def slot_positions(tokens: int, ratio: int, *, levels: int, placement: Placement) -> Tensor:
    """Return the token position that every level of every slot is taken from.

    Slot j stands at its run's last token t = min((j+1)·r, n) − 1. As published (arXiv 2406.06110) every level is
    taken there; with `staggered`, level l is taken at t − (l mod r), so that across levels each token of the run
    is present.

    Args:
        tokens: Length n of the window.
        ratio: Source tokens per slot, r.
        levels: Number of levels.
        placement: `staggered` or `last`.

    Returns:
        Positions of shape (levels, slots), int64.
    """
    last = torch.arange(1, slot_count(tokens, ratio) + 1) * ratio - 1
    last = last.clamp(max=tokens - 1)
    shift = torch.arange(levels) % ratio if placement == "staggered" else torch.zeros(levels, dtype=torch.int64)
    return (last[None, :] - shift[:, None]).clamp(min=0)
