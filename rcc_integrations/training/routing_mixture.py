"""How much memory and words count in choosing windows: weights found on questions that no head was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.routing.attention_router import AttentionRouter, QuestionCodes
from rcc_integrations.routing.mixture import score_parts
from rcc_integrations.routing.word_router import WordRouter
from rcc_integrations.training.routing_features import RoutingFeatures

#: Keeps weights that few questions decide small.
_DECAY = 1e-3
#: Questions of data sets repeat the words of their texts more than others do: of what words are worth on them, this
#: part is kept (best on the development set of `rcc eval --collection`).
_WORDS = 0.5


@dataclass(frozen=True, eq=False)
class ScoredQuestion:
    """A question put to a whole collection.

    Args:
        parts: What a mixture weighs, shape (windows, weights), float32; see `score_parts`.
        answers: The windows that hold the answer.
    """

    parts: np.ndarray
    answers: list[int]

    def rank(self, weights: Sequence[float]) -> int:
        """Return the rank of the first window that holds the answer under some weights, from 1."""
        order = np.argsort(-(self.parts @ np.asarray(weights)), kind="stable").tolist()
        return 1 + int(min(order.index(answer) for answer in self.answers))


def score_questions(head: RoutingHead, collections: Sequence[RoutingFeatures]) -> list[ScoredQuestion]:
    """Score all windows of collections for all their questions, with codes as an index stores them.

    Args:
        head: The head.
        collections: Whole collections with questions.
    """
    scored = []
    for features in collections:
        owners, words = np.array(features.owners), WordRouter(features.texts)
        codes = [head.quantised(torch.from_numpy(window)) for window in features.windows]
        counts = np.array([len(each) for each in codes])
        router = AttentionRouter(np.concatenate(codes), np.cumsum(counts) - counts, counts)
        for question, states, answers in zip(features.asked, features.questions, features.answers, strict=True):
            memory = router.scores(QuestionCodes(*head.asked(torch.from_numpy(states))))
            parts = score_parts(owners, memory, words.scores(question))
            scored.append(ScoredQuestion(np.stack(parts, axis=-1), answers))
    return scored


def fit_mixture(head: RoutingHead, questions: Sequence[ScoredQuestion]) -> float:
    """Find a head's mixture: the weights, none below 0, under which answering windows are most likely.

    Args:
        head: A trained head; its `mixture` is set.
        questions: Questions that it was not trained on, as `score_questions` returns them.

    Returns:
        The mean negative log-likelihood of the answering windows.
    """
    parts = [torch.from_numpy(each.parts).double() for each in questions]
    raw = torch.tensor([3.0, 1.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([raw], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        weights = functional.softplus(raw)
        missed = torch.stack([-(scored @ weights).log_softmax(0)[each.answers].logsumexp(0)
                              for scored, each in zip(parts, questions, strict=True)]).mean()  # fmt: skip
        total: torch.Tensor = missed + _DECAY * weights.square().mean()
        total.backward()  # type: ignore[no-untyped-call]
        return missed

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    head.mixture[:] = functional.softplus(raw.detach()).float() * torch.tensor([1, _WORDS, 1, _WORDS])
    return float(loss().detach())
