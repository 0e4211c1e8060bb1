"""`WindowRanker`: scores the windows of a collection for a question, by memory, by words, or by both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache

from rcc_integrations.errors import ConfigError
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.memory.records import CollectionRecord
from rcc_integrations.reader.collection_view import CollectionView
from rcc_integrations.reader.compatibility import ratio_of
from rcc_integrations.reader.routing_indices import RoutingIndices
from rcc_integrations.routing.attention_router import AttentionRouter, QuestionCodes
from rcc_integrations.routing.mixture import mixed_scores
from rcc_integrations.routing.route import ROUTINGS, Routing, Scorer

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.model.routing_head import RoutingHead

#: Collections whose routers are held at once.
_HELD = 16
#: Questions whose codes are held: one question may be put to several collections.
_QUESTIONS = 64


@dataclass(frozen=True)
class _Held:
    """A router with the revision and the routing head that it was made for."""

    record: CollectionRecord
    made_by: str
    router: AttentionRouter


class WindowRanker:
    """Scores the windows of collections.

    Args:
        indices: The routing indices of the collections.
        model: Returns the model, loaded when it is first needed.
    """

    def __init__(self, indices: RoutingIndices, model: Callable[[], RCCModel]) -> None:
        self._indices, self._model = indices, model
        self._lock = ForkSafeLock()
        self._routers: LRUCache[str, _Held] = LRUCache(_HELD)
        self._questions: LRUCache[tuple[str, str], QuestionCodes] = LRUCache(_QUESTIONS)

    def scorer(self, view: CollectionView, question: str, numbers: Sequence[int], routing: Routing = "both") -> Scorer:
        """Return what scores the windows of a collection.

        Args:
            view: The collection.
            question: What is asked.
            numbers: The windows that compete.
            routing: By what. `both` goes by words alone where the model has no routing head for these memories.

        Returns:
            Scores are probabilities over the windows that compete, or, by words alone, BM25.

        Raises:
            ConfigError: If the routing is not known, or `memory` is asked for and the model has no routing head.
        """
        if routing not in ROUTINGS:
            raise ConfigError(f"routing must be one of {', '.join(ROUTINGS)}; it is {routing!r}.")
        # What is not stored has no memory to go by.
        head = self._indices.head(view.record) if routing != "words" and view.store is not None else None
        if head is None:
            if routing == "memory":
                raise self._no_head(view)
            return Scorer(lambda: view.words.scores(question), lambda: view.words.ceiling(question))
        made_by, mixture = head, head.mixture.tolist()

        def score() -> np.ndarray:
            some = None if len(numbers) == len(view.windows) else numbers
            memory = self._router(view, made_by).scores(self._asked(made_by, question), some)
            words = view.words.scores(question) if routing == "both" else None
            return mixed_scores(mixture, view.owners, numbers, memory, words)

        return Scorer(score)

    def _asked(self, head: RoutingHead, question: str) -> QuestionCodes:
        key = (head.id, question)
        with self._lock:
            codes = self._questions.get(key)
        if codes is None:
            codes = QuestionCodes(*self._model().question_codes(question, head))
            with self._lock:
                self._questions[key] = codes
        return codes

    def _router(self, view: CollectionView, head: RoutingHead) -> AttentionRouter:
        record = view.record
        with self._lock:
            held = self._routers.get(record.uid)
            if held is not None and held.record == record and held.made_by == head.id:
                return held.router
        assert view.store is not None
        index = self._indices.complete(view.store, record, view.windows)
        assert index is not None
        router = AttentionRouter(index.codes, *index.places([window.key for window in view.windows]))
        with self._lock:
            self._routers[record.uid] = _Held(record, head.id, router)
        return router

    def _no_head(self, view: CollectionView) -> ConfigError:
        base, ratio = self._model().config.base, ratio_of(view.record)
        return ConfigError(
            f"routing='memory' is not possible: {base!r} has no routing head for memories of ratio {ratio}. Fit one "
            "with `rcc calibrate`, or use routing='words'."
        )
