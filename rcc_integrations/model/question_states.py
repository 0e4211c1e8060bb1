"""What a decoder makes of questions before it has any memory in front of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rcc_integrations.model.encoder import encode_slots
from rcc_integrations.model.family import Family
from rcc_integrations.model.tokens import Tokens

#: The most tokens of a question that are read.
_MOST = 192


def question_states(
    decoder: PreTrainedModel, tokens: Tokens, questions: Sequence[str], levels: Sequence[int]
) -> list[Tensor]:
    """Let a decoder read questions without memory, in the words of the model's template up to the question.

    Args:
        decoder: The decoder.
        tokens: Its tokens.
        questions: The questions; of a long one the end is read.
        levels: The layers whose inputs are wanted, ascending; the pass ends at the highest.

    Returns:
        For each question, states at its tokens, shape (tokens, levels · hidden); without tokens for an empty one.
    """
    front = [*tokens.opening, *tokens.template[0]]
    ids = [tokens.ids(question.strip())[-_MOST:] for question in questions]
    tokens.check(ids)
    longest = max(len(each) for each in ids)
    read = torch.zeros(len(ids), len(front) + max(longest, 1), dtype=torch.int64)
    for row, each in enumerate(ids):
        read[row, : len(front) + len(each)] = torch.tensor([*front, *each])
    sources = torch.arange(len(front), read.shape[1]).expand(len(ids), len(levels), -1)
    states = encode_slots(Family.of(decoder), read.to(decoder.device), sources.to(decoder.device), levels)
    return [states[:, row, : len(each)].transpose(0, 1).flatten(1) for row, each in enumerate(ids)]
