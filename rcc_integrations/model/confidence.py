"""Confidence: how likely the texts in memory say what an answer says, judged by how sure the decoder was of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rcc_integrations.model.evidence import Evidence

#: A logarithm of a probability counts down to this.
_FLOOR = -12.0


def signals(evidence: Evidence) -> tuple[float, float, float]:
    """Return what a confidence is made of: logarithms of probabilities.

    Args:
        evidence: Of an answer.

    Returns:
        That of beginning the answer by declining, the mean over the answer's tokens, and that of the least likely one.
    """
    tokens = [max(_FLOOR, value) for value in evidence.tokens] or [0.0]
    return max(_FLOOR, evidence.declined), sum(tokens) / len(tokens), min(tokens)


def confidence(evidence: Evidence, weights: Sequence[float] = ()) -> float:
    """Return a number from 0 to 1.

    Args:
        evidence: Of an answer.
        weights: Constant, and weights of the three signals, of a logistic regression
            (`rcc_integrations.evaluation.calibration.calibrate` finds them). Without them it is the geometric mean of
            the probabilities of the answer's tokens, times that of not declining.
    """
    found = signals(evidence)
    if not weights:
        declined, mean, _ = found
        return math.exp(mean) * (1 - math.exp(declined))
    constant, *each = weights
    total = constant + sum(weight * signal for weight, signal in zip(each, found, strict=True))
    # The logistic function, without overflow.
    return 0.5 * (1 + math.tanh(0.5 * total))
