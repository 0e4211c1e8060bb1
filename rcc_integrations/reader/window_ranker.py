"""`WindowRanker`: scores the windows of a collection for a question, by memory, by words, or by both."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from cachetools import LRUCache

from rcc_integrations.errors import ConfigError
from rcc_integrations.memory.routing_index import RoutingIndex
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.collection_view import CollectionView
from rcc_integrations.reader.compatibility import ratio_of
from rcc_integrations.routing.attention_router import AttentionRouter, QuestionCodes
from rcc_integrations.routing.mixture import mixed_scores

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.model.routing_head import RoutingHead

#: How windows are chosen: by memory and words, by memory alone, or by shared words alone.
Routing = Literal["both", "memory", "words"]
ROUTINGS: tuple[str, ...] = get_args(Routing)

#: Collections whose routers are held at once.
_HELD = 16
#: Questions whose codes are held: one question may be put to several collections.
_QUESTIONS = 64


@dataclass(frozen=True)
class _Held:
    """A router with what it was made for."""

    record: object
    made_by: str
    router: AttentionRouter


class WindowRanker:
    """Scores windows; an index that lacks windows of a collection is completed from their memories.

    Args:
        store: The store; codes are kept in its folder, or in RAM where it is read-only.
        model: Returns the model, loaded when it is first needed.
    """

    def __init__(self, store: MemoryStore, model: Callable[[], RCCModel]) -> None:
        self._store, self._model = store, model
        self._lock = threading.RLock()
        self._routers: LRUCache[str, _Held] = LRUCache(_HELD)
        self._indices: LRUCache[tuple[str, str], RoutingIndex] = LRUCache(_HELD)
        self._questions: LRUCache[tuple[str, str], QuestionCodes] = LRUCache(_QUESTIONS)

    def scorer(
        self, view: CollectionView, question: str, numbers: Sequence[int], routing: Routing = "both"
    ) -> Callable[[], np.ndarray]:
        """Return what scores the windows of a collection.

        Args:
            view: The collection.
            question: What is asked.
            numbers: The windows that compete.
            routing: By what. `both` goes by words alone where the model has no routing head for these memories.

        Returns:
            A function without arguments that returns a score for every window of the collection, shape (windows,),
            float32: probabilities over the windows that compete, or, by words alone, BM25.

        Raises:
            ConfigError: If the routing is not known, or `memory` is asked for and the model has no routing head.
        """
        if routing not in ROUTINGS:
            raise ConfigError(f"routing must be one of {', '.join(ROUTINGS)}; it is {routing!r}.")
        if routing == "words":
            return lambda: view.words.scores(question)
        head = self._head(view, needed=routing == "memory")
        if head is None:
            return lambda: view.words.scores(question)

        def score() -> np.ndarray:
            asked = self._asked(head, question)
            memory = self._router(view, head).scores(asked, None if len(numbers) == len(view.windows) else numbers)
            words = view.words.scores(question) if routing == "both" else None
            return mixed_scores(head.mixture.tolist(), view.owners, numbers, memory, words)

        return score

    def complete(self, view: CollectionView) -> int:
        """Bring a collection's index up to date; return how many windows were missing."""
        head = self._head(view, needed=False)
        if head is None:
            return 0
        index = self._index(view, head)
        keys = [window.key for window in view.windows]
        with self._lock:
            index.refresh()
            missing = index.missing(keys)
            if missing:
                index = self._fill(view, head, index, missing)
            elif len(index) > 2 * len(set(keys)) + _HELD and not self._store.read_only:
                index.compact(keys)
        return len(missing)

    def _head(self, view: CollectionView, *, needed: bool) -> RoutingHead | None:
        model = self._model()
        head = model.parts.routing
        if head is not None and head.fits(model.layout(ratio_of(view.record))):
            return head
        if needed:
            why = "has no routing head" if head is None else f"has one for levels {list(head.levels)} alone"
            raise ConfigError(
                f"routing='memory' needs a model that finds windows by memory; {model.config.base!r} at ratio "
                f"{ratio_of(view.record)} {why}. Fit one with `rcc calibrate`, or use routing='words'."
            )
        return None

    def _asked(self, head: RoutingHead, question: str) -> QuestionCodes:
        key = (head.id, question)
        with self._lock:
            codes = self._questions.get(key)
        if codes is None:
            codes = QuestionCodes(*self._model().question_codes(question))
            with self._lock:
                self._questions[key] = codes
        return codes

    def _router(self, view: CollectionView, head: RoutingHead) -> AttentionRouter:
        with self._lock:
            held = self._routers.get(view.record.uid)
            if held is not None and held.record == view.record and held.made_by == head.id:
                return held.router
            self.complete(view)
            index = self._index(view, head)
            router = AttentionRouter(index.codes, *index.places([window.key for window in view.windows]))
            self._routers[view.record.uid] = _Held(view.record, head.id, router)
            return router

    def _index(self, view: CollectionView, head: RoutingHead) -> RoutingIndex:
        key = (view.record.uid, head.id)
        with self._lock:
            if key not in self._indices:
                folder = self._store.routing_folder(view.record.uid)
                self._indices[key] = RoutingIndex(folder, head.id, head.width)
            return self._indices[key]

    def _fill(
        self, view: CollectionView, head: RoutingHead, index: RoutingIndex, missing: Sequence[str]
    ) -> RoutingIndex:
        """Add the codes of windows; where nothing may be written, to an index in RAM that takes the other's place."""
        from rcc_integrations.reader.window_codes import read_codes

        if self._store.read_only and index.writable:
            in_ram = RoutingIndex(None, head.id, head.width)
            in_ram.add(index.contents())
            self._indices[view.record.uid, head.id] = index = in_ram
            missing = index.missing(missing)
        windows = {window.key: window for window in view.windows}
        for codes in read_codes(self._store, self._model(), [windows[key] for key in missing], ratio_of(view.record)):
            index.add(codes)
        return index
