"""Laying windows and questions side by side in rows, so that little is padding and none sees another."""

from __future__ import annotations

import torch
from torch import Tensor

from rcc_integrations.model.prefix import PrefixBatch
from rcc_integrations.model.slots import SlotLayout
from rcc_integrations.training.batch import Asked


def packed_rows(lengths: list[int], room: int) -> list[list[int]]:
    """Distribute windows over as few rows as hold them, evenly: the longest first, each into the emptiest row.

    Args:
        lengths: Tokens of each window.
        room: About how many tokens a row has.

    Returns:
        The numbers of the windows in each row.
    """
    rows: list[list[int]] = [[] for _ in range(min(len(lengths), -(-sum(lengths) // room)))]
    filled = [0] * len(rows)
    for number in sorted(range(len(lengths)), key=lambda number: -lengths[number]):
        row = filled.index(min(filled))
        rows[row].append(number)
        filled[row] += lengths[number]
    return rows


def lay_windows(
    windows: list[list[int]], rows: list[list[int]], layout: SlotLayout
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[int]]:
    """Lay windows into rows.

    Args:
        windows: Token ids of each.
        rows: As `packed_rows` returns them.
        layout: Of the memories.

    Returns:
        Token ids and positions of shape (rows, tokens); which tokens each sees, shape (rows, tokens, tokens); the
        tokens that entries are taken from, shape (rows, levels, entries); and the number of entries of each window.
    """
    longest = max(sum(len(windows[number]) for number in row) for row in rows)
    counts = [layout.entries(len(window)) for window in windows]
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    positions, group = torch.zeros_like(ids), torch.full_like(ids, -1)
    most = max(sum(counts[number] for number in row) for row in rows)
    sources = torch.zeros(len(rows), len(layout.levels), most, dtype=torch.int64)
    for row, numbers in enumerate(rows):
        at = entry = 0
        for number in numbers:
            length, count = len(windows[number]), counts[number]
            ids[row, at : at + length] = torch.tensor(windows[number])
            positions[row, at : at + length] = torch.arange(length)
            group[row, at : at + length] = number
            sources[row, :, entry : entry + count] = layout.sources(length) + at
            at, entry = at + length, entry + count
    return ids, positions, _same(group), sources, counts


def lay_questions(asked: list[list[Asked]], prefixes: PrefixBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Lay the questions about each text side by side; none sees another.

    Args:
        asked: For each text, its questions.
        prefixes: What each text's questions start from.

    Returns:
        Token ids and positions of shape (texts, tokens); which positions each token sees, shape (texts, tokens,
        prefix + tokens); and where a target follows, shape (targets, 2).
    """
    longest = max(sum(len(item.ids) for item in each) for each in asked)
    ids = torch.zeros(len(asked), longest, dtype=torch.int64)
    positions = torch.zeros_like(ids)
    group = torch.full_like(ids, -1)
    places = []
    for row, each in enumerate(asked):
        at = 0
        for number, item in enumerate(each):
            end = at + len(item.ids)
            ids[row, at:end] = torch.tensor(item.ids)
            positions[row, at:end] = torch.arange(len(item.ids)) + prefixes.lengths[row]
            group[row, at:end] = number
            places += [(row, column) for column in range(at + item.answer - 1, end - 1)]
            at = end
    seen = torch.cat([prefixes.used[:, None, :].bool().expand(-1, longest, -1), _same(group)], dim=-1)
    return ids, positions, seen, torch.tensor(places)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn what is seen into what is added to attention scores, shape (texts, 1, tokens, positions)."""
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def _same(group: Tensor) -> Tensor:
    """Return which tokens see which: those before them, and themselves, in their own group.

    Padding is a group of its own, so that every token sees something: attention over nothing is not a number.
    """
    length = group.shape[-1]
    return (group[:, :, None] == group[:, None, :]) & torch.ones(length, length, dtype=torch.bool).tril()
