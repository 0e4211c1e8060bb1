"""`Evidence`: how sure a model was of what it wrote."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor


@dataclass(frozen=True)
class Evidence:
    """Natural logarithms of the probabilities that the decoder gave, before any grammar and any temperature.

    Args:
        tokens: Of every token that was generated, in order.
        declined: That the answer begins like the one that declines to answer.
    """

    tokens: tuple[float, ...]
    declined: float


class EvidenceProcessor(LogitsProcessor):
    """Looks at the scores before other processors change them; changes nothing.

    Args:
        declining: First token of the answer that declines to answer.
    """

    def __init__(self, declining: int) -> None:
        self._declining = declining
        self._declined: list[float] = []
        self._newest = torch.empty(0)
        self._steps: list[list[float]] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores as they are, shape (rows, vocabulary)."""
        self._newest = scores.float().log_softmax(-1)
        if not self._declined:
            self._declined = self._newest[:, self._declining].tolist()
        return scores

    def chosen(self, tokens: Tensor) -> None:
        """Note which tokens were taken, shape (rows,)."""
        self._steps.append(self._newest.gather(1, tokens[:, None])[:, 0].tolist())

    def of(self, row: int, length: int) -> Evidence:
        """Return a row's evidence.

        Args:
            row: The row.
            length: How many tokens it has.
        """
        return Evidence(tuple(step[row] for step in self._steps[:length]), self._declined[row])
