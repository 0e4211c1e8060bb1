"""From a question to its answer: choose windows, bring their memories into a prefix, generate, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rcc_integrations.answer import Answer, AnswerStream, Timings, Usage
from rcc_integrations.errors import (
    BlobsMissingError,
    ConfigError,
    EmptyCollectionError,
    FingerprintMismatchError,
    StoreFormatError,
)
from rcc_integrations.loading import load_prefix
from rcc_integrations.memory.records import CollectionRecord
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.model.generation import Generation, GenerationOptions
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.prefixes import PrefixCache
from rcc_integrations.routing import Route
from rcc_integrations.shelf import Shelf, Shelves

#: A question that meets a change of its collection in between is prepared again so often.
_TRIES = 5


@dataclass(frozen=True)
class _Prepared:
    """A question, its windows and their prefix."""

    ids: list[int]
    options: GenerationOptions
    shelf: Shelf
    route: Route
    prefix: Prefix
    started: float
    route_seconds: float
    load_seconds: float


class Asker:
    """Answers questions over the collections of a store; see `RCCReader.ask` for options and errors.

    Args:
        store: The store.
        model: Returns the model, loaded when it is first needed.
        shelves: The collections in RAM.
        prefixes: The prefixes in RAM.
    """

    def __init__(
        self, store: MemoryStore, model: Callable[[], RCCModel], shelves: Shelves, prefixes: PrefixCache
    ) -> None:
        self._store, self._model, self._shelves, self._prefixes = store, model, shelves, prefixes

    def ask_batch(self, questions: Sequence[tuple[str, str]], options: dict[str, Any]) -> list[Answer]:
        """Answer pairs of collection and question in one batch."""
        if not questions:
            return []
        shown = _take_sources(options)
        prepared = [self._prepare(collection, question, dict(options)) for collection, question in questions]
        first: dict[int, float] = {}

        def emit(row: int, _: str) -> None:
            first.setdefault(row, time.perf_counter())

        done = self._model().generate(
            [one.prefix for one in prepared], [one.ids for one in prepared], prepared[0].options, emit=emit
        )
        now = time.perf_counter()
        return [
            self._answer(one, generation, first.get(row, now) - one.started, shown)
            for row, (one, generation) in enumerate(zip(prepared, done, strict=True))
        ]

    def stream(self, collection: str, question: str, options: dict[str, Any]) -> AnswerStream:
        """Answer a question piece by piece."""
        shown = _take_sources(options)
        one = self._prepare(collection, question, options)
        pieces = self._model().stream(one.prefix, one.ids, one.options)

        def complete(first: float) -> Answer | None:
            return None if pieces.result is None else self._answer(one, pieces.result, first, shown)

        return AnswerStream(pieces, complete, lambda: time.perf_counter() - one.started)

    def _prepare(self, collection: str, question: str, options: dict[str, Any]) -> _Prepared:
        documents, most = options.pop("documents", None), options.pop("max_windows", None)
        wanted = GenerationOptions().but(**options)
        if not isinstance(question, str) or not question.strip():
            raise ConfigError(f"The question is empty: {question!r}.")
        if most is not None and (not isinstance(most, int) or most < 1):
            raise ConfigError(f"max_windows must be a whole number of at least 1; it is {most!r}.")
        self._store.collection(collection)  # an unknown name is said before a model is loaded
        model = self._model()
        started = time.perf_counter()
        ids = model.question_ids(question.strip())
        room = model.slot_room(ids, wanted.max_new_tokens)
        limit = most or model.config.max_windows
        for attempt in range(_TRIES):
            begun = time.perf_counter()
            shelf = self._shelves.get(collection)
            check_fingerprint(shelf.collection, model)
            numbers = shelf.numbers(documents)
            if not numbers:
                raise EmptyCollectionError(f"Collection {collection!r} is empty: add documents before asking it.")
            route = shelf.route(question, numbers, room, limit)
            if not route.chosen:
                raise ConfigError(f"No window of {collection!r} fits into the {room} positions beside this question.")
            routed = time.perf_counter()
            try:
                prefix = self._prefix(shelf, route)
                break
            except BlobsMissingError:
                # The collection changed after it was looked at.
                if attempt == _TRIES - 1 or self._store.collection(collection).revision == shelf.collection.revision:
                    raise
        loaded = time.perf_counter()
        return _Prepared(ids, wanted, shelf, route, prefix, started, routed - begun, loaded - routed)

    def _prefix(self, shelf: Shelf, route: Route) -> Prefix:
        windows = [shelf.windows[number] for number in route.chosen]
        key = (shelf.collection.fingerprint, tuple(window.key for window in windows))
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = load_prefix(self._store, self._model(), windows)
            self._prefixes.put(key, prefix)
        return prefix

    def _answer(self, one: _Prepared, generation: Generation, first: float, shown: int) -> Answer:
        shelf, route = one.shelf, one.route
        usage = Usage(
            memory_slots=one.prefix.slots,
            question_tokens=len(one.ids) + one.prefix.text_tokens,
            answer_tokens=len(generation.ids),
            windows=len(route.chosen),
            windows_in_collection=len(shelf.windows),
            source_tokens=sum(shelf.windows[number].tokens for number in route.chosen),
        )
        timings = Timings(one.route_seconds, one.load_seconds, first, time.perf_counter() - one.started)
        sources = tuple(shelf.source(number, float(route.scores[number])) for number in route.ranked[:shown])
        collection = shelf.collection
        return Answer(
            generation.text, sources, usage, timings, generation.finish_reason, collection.name, collection.revision
        )


def check_fingerprint(record: CollectionRecord, model: RCCModel) -> None:
    """Refuse memories that another model made.

    Raises:
        FingerprintMismatchError: Both fingerprints are named.
    """
    ratio = ratio_of(record)
    mine = model.fingerprint(ratio)
    if mine != record.fingerprint:
        raise FingerprintMismatchError(
            f"Collection {record.name!r} was made by another model: fingerprint {record.fingerprint} "
            f"({record.model}), and the model at hand has {mine} ({model.describe(ratio)}). Open the store "
            "with the model that made it, or add the documents to a new collection."
        )


def ratio_of(record: CollectionRecord) -> int:
    """Return the ratio that a collection was made at.

    Raises:
        StoreFormatError: Its record does not say.
    """
    ratio = record.model.get("ratio")
    if not isinstance(ratio, int) or ratio < 1:
        raise StoreFormatError(f"Collection {record.name!r} does not say at which ratio it was made: {record.model}.")
    return ratio


def _take_sources(options: dict[str, Any]) -> int:
    shown = options.pop("sources", 3)
    if not isinstance(shown, int) or shown < 0:
        raise ConfigError(f"sources must be a whole number of at least 0; it is {shown!r}.")
    return shown
