"""`RCCReader`: documents in, compressed memory on disk, answers out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from rcc_integrations.adding import Adder, AddReport, Progress, Readable, as_sources
from rcc_integrations.answer import Answer, AnswerStream, Source, Timings, Usage
from rcc_integrations.document import Document
from rcc_integrations.errors import (
    BlobsMissingError,
    ConfigError,
    EmptyCollectionError,
    FingerprintMismatchError,
    StoreFormatError,
    UnknownCollectionError,
)
from rcc_integrations.loading import load_prefix
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord
from rcc_integrations.memory.report import VerifyReport
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.model.generation import Generation, GenerationOptions
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.prefixes import PrefixCache
from rcc_integrations.progress import progress_bar
from rcc_integrations.repair import repair_documents
from rcc_integrations.routing import Route
from rcc_integrations.shelf import Shelf, Shelves

#: A question that meets a change of its collection in between is prepared again so often.
_TRIES = 5


@dataclass(frozen=True)
class _Prepared:
    """A question, its windows and their prefix."""

    question: str
    ids: list[int]
    options: GenerationOptions
    shelf: Shelf
    route: Route
    prefix: Prefix
    started: float
    route_seconds: float
    load_seconds: float


class RCCReader:
    """A model, a store and a router: the one place through which documents are added and questions answered.

    Open one with `RCCReader.open`; it is safe to share between threads, and several processes may open one store.

    Args:
        store: The store.
        model: The model, or what loads it when it is first needed.
        prefix_cache_bytes: How much RAM prefixes that were used may keep.
    """

    def __init__(
        self,
        store: MemoryStore,
        model: RCCModel | Callable[[], RCCModel] = RCCModel.default,
        *,
        prefix_cache_bytes: int = 1 << 30,
    ) -> None:
        self.store = store
        self._model = model if isinstance(model, RCCModel) else None
        self._load_model = model
        self._lock = threading.RLock()
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self._shelves = Shelves(store)

    @classmethod
    def open(
        cls,
        store: str | PathLike[str],
        *,
        model: RCCModel | str | Path | None = None,
        create: bool = True,
        read_only: bool = False,
        size_limit: int | None = None,
        prefix_cache_bytes: int = 1 << 30,
        **model_options: Any,
    ) -> RCCReader:
        """Open a store, or make one, to read and write through a model.

        Args:
            store: The store's folder.
            model: A model, or folder or hub id of one; the default model that comes with the package if not given.
                It is loaded when it is first needed.
            create: Make a store where there is none.
            read_only: Change nothing.
            size_limit: The most bytes of memories and texts.
            prefix_cache_bytes: How much RAM prefixes that were used may keep.
            **model_options: `device`, `dtype`, `attn`, `merge`, `base` for loading the model.

        Raises:
            StoreError: There is no store (and none is to be made), or it cannot be opened.
        """

        def load() -> RCCModel:
            if model is None:
                return RCCModel.default(**model_options)
            return RCCModel.from_pretrained(model, **model_options)  # type: ignore[arg-type]

        opened = MemoryStore.open(store, create=create, read_only=read_only, size_limit=size_limit)
        chosen = model if isinstance(model, RCCModel) else load
        return cls(opened, chosen, prefix_cache_bytes=prefix_cache_bytes)

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> RCCReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def model(self) -> RCCModel:
        """The model; loaded when first asked for."""
        with self._lock:
            if self._model is None:
                self._model = self._load_model() if callable(self._load_model) else self._load_model
            return self._model

    # Documents

    def add(
        self,
        collection: str,
        documents: Mapping[str, str] | Iterable[Document | Readable],
        *,
        ratio: int | None = None,
        storage: str | None = None,
        untrained: bool = False,
        skip_unreadable: bool = False,
        show_progress: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AddReport:
        """Add documents to a collection, or replace those that changed; the collection is made if there is none.

        Each document becomes visible as a whole when all its windows are stored. An interrupted run goes on where it
        stopped when it is started again.

        Args:
            collection: Name of the collection.
            documents: Texts by id, or `Document`s, or files as `rcc_integrations.files.find_files` returns them.
            ratio: Compression ratio of a new collection; the model's own if not given.
            storage: How a new collection stores memories: `int8` (if not given), `bfloat16` or `float32`.
            untrained: Allow a ratio that the model has no adapter for.
            skip_unreadable: Report what cannot be read instead of raising.
            show_progress: Draw a progress bar on standard error.
            on_progress: Called after every batch and every document.

        Returns:
            What was done.

        Raises:
            ConfigError: An argument cannot be used.
            EmptyDocumentError: A document has no text.
            FingerprintMismatchError: The collection was made by another model or at another ratio.
            StoreError: The store cannot take it; documents that were done before stay.
        """
        sources = as_sources(documents)
        record = self._find(collection)
        if record is None and not sources:
            raise EmptyCollectionError(f"There is nothing to add, so collection {collection!r} is not made.")
        if record is None:
            ratio = self.model.check_ratio(ratio, untrained=untrained)
            record = self.store.create_collection(
                collection,
                fingerprint=self.model.fingerprint(ratio),
                model=self.model.describe(ratio),
                storage=storage or "int8",
            )
        made_at = _ratio(record)
        if (ratio or made_at) != made_at or (storage or record.storage) != record.storage:
            raise FingerprintMismatchError(
                f"Collection {collection!r} was made at ratio {made_at} and is stored as {record.storage}, not at "
                f"{ratio or made_at} as {storage or record.storage}. Leave these out, or name a new collection."
            )

        def model() -> RCCModel:
            self._check_fingerprint(record)
            return self.model

        with progress_bar(show_progress, on_progress) as tell:
            return Adder(self.store, model, record, made_at, tell).add(sources, skip=skip_unreadable)

    def delete(self, collection: str, documents: Iterable[str]) -> list[DocumentRecord]:
        """Remove documents, all of them at one instant or none.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: It lacks one of them; nothing changed.
        """
        ids = [documents] if isinstance(documents, str) else documents
        return self.store.delete_documents(collection, ids)

    def drop(self, collection: str) -> CollectionRecord:
        """Remove a collection with all its documents.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        return self.store.drop_collection(collection)

    def rename(self, old: str, new: str) -> CollectionRecord:
        """Give a collection another name.

        Raises:
            UnknownCollectionError: There is no such collection.
            ConfigError: The new name is taken.
        """
        return self.store.rename_collection(old, new)

    def collections(self) -> list[CollectionRecord]:
        """Return all collections, by name."""
        return self.store.collections()

    def documents(self, collection: str) -> list[DocumentRecord]:
        """Return a collection's documents, in order of first insertion.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        return self.store.documents(collection)

    def text(self, collection: str, document: str) -> str:
        """Return the stored text of a document.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: It has no such document.
        """
        return self.store.text(self.store.document(collection, document).text_key)

    def verify(self, *, repair: bool = False, grace: float = 3600.0) -> VerifyReport:
        """Check the whole store.

        Args:
            repair: Mend what can be mended: remove what nothing needs, recount, and compress documents with broken
                memories again from their stored text (if the model at hand is the one that made them).
            grace: Seconds that unused memories are left alone; another process may be about to use them.

        Returns:
            What was found; documents that are still damaged are named in `damaged`.
        """
        report = self.store.verify(repair=repair, grace=grace)
        return repair_documents(self, report, grace) if repair and report.damaged else report

    # Questions

    def ask(self, collection: str, question: str, **options: Any) -> Answer:
        """Answer a question from a collection's memories.

        Args:
            collection: Name of the collection.
            question: The question; it is never compressed.
            **options: `documents` (ids: only these), `max_windows` (the most windows in memory; the number that the
                model was trained with if not given), `sources` (how many to return, 3), and the fields of
                `GenerationOptions`: `max_new_tokens`, `temperature`, `stop`, `seed`, ….

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: It lacks one of the documents.
            EmptyCollectionError: There is nothing to answer from.
            FingerprintMismatchError: The memories were made by another model.
            BudgetError: The question and its answer do not fit into the decoder.
            ConfigError: The question is empty, or an option cannot be used.
        """
        return self.ask_batch([(collection, question)], **options)[0]

    def ask_batch(self, questions: Sequence[tuple[str, str]], **options: Any) -> list[Answer]:
        """Answer several questions in one batch, each over its own memories.

        Args:
            questions: Pairs of collection and question.
            **options: As in `ask`, for all of them.

        Raises:
            RCCError: As in `ask`.
        """
        if not questions:
            return []
        shown = _take_sources(options)
        prepared = [self._prepare(collection, question, dict(options)) for collection, question in questions]
        first: dict[int, float] = {}

        def emit(row: int, _: str) -> None:
            first.setdefault(row, time.perf_counter())

        done = self.model.generate(
            [one.prefix for one in prepared], [one.ids for one in prepared], prepared[0].options, emit=emit
        )
        now = time.perf_counter()
        return [
            self._answer(one, generation, first.get(row, now) - one.started, shown)
            for row, (one, generation) in enumerate(zip(prepared, done, strict=True))
        ]

    def stream(self, collection: str, question: str, **options: Any) -> AnswerStream:
        """Answer a question piece by piece.

        Args:
            collection: Name of the collection.
            question: The question.
            **options: As in `ask`.

        Returns:
            An iterator over pieces of text; its `answer` is the whole answer once it is at its end. Closing it stops
            the work.

        Raises:
            RCCError: As in `ask`; errors while generating are raised by the iterator.
        """
        shown = _take_sources(options)
        one = self._prepare(collection, question, options)
        pieces = self.model.stream(one.prefix, one.ids, one.options)

        def complete(first: float) -> Answer | None:
            return None if pieces.result is None else self._answer(one, pieces.result, first, shown)

        return AnswerStream(pieces, complete, lambda: time.perf_counter() - one.started)

    def search(
        self, collection: str, query: str, k: int = 5, *, documents: Iterable[str] | None = None
    ) -> list[Source]:
        """Return the windows that share most with a query, best first; the model is not needed.

        Args:
            collection: Name of the collection.
            query: What to look for.
            k: The most windows to return; windows that share no word are never returned.
            documents: Search only these.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        return self._shelves.get(collection).search(query, k, documents)

    def _prepare(self, collection: str, question: str, options: dict[str, Any]) -> _Prepared:
        model = self.model  # loaded before the clock starts: it is no part of any question
        started = time.perf_counter()
        documents, most = options.pop("documents", None), options.pop("max_windows", None)
        wanted = GenerationOptions().but(**options)
        if not isinstance(question, str) or not question.strip():
            raise ConfigError(f"The question is empty: {question!r}.")
        if most is not None and (not isinstance(most, int) or most < 1):
            raise ConfigError(f"max_windows must be a whole number of at least 1; it is {most!r}.")
        record = self.store.collection(collection)
        self._check_fingerprint(record)
        ids = model.question_ids(question.strip())
        room = model.slot_room(ids, wanted.max_new_tokens)
        limit = most or model.config.max_windows
        for attempt in range(_TRIES):
            begun = time.perf_counter()
            shelf = self._shelves.get(collection)
            numbers = shelf.numbers(documents)
            if not numbers:
                raise EmptyCollectionError(f"Collection {collection!r} is empty: add documents before asking it.")
            route = shelf.route(question, numbers, room, limit)
            if not route.chosen:
                raise ConfigError(f"No window of {collection!r} fits into the {room} positions beside this question.")
            routed = time.perf_counter()
            try:
                prefix = self._prefix(record.fingerprint, shelf, route)
                break
            except BlobsMissingError:
                # The collection changed after it was looked at.
                if attempt == _TRIES - 1 or self.store.collection(collection).revision == shelf.collection.revision:
                    raise
        loaded = time.perf_counter()
        return _Prepared(question, ids, wanted, shelf, route, prefix, started, routed - begun, loaded - routed)

    def _prefix(self, fingerprint: str, shelf: Shelf, route: Route) -> Prefix:
        windows = [shelf.windows[number] for number in route.chosen]
        key = (fingerprint, tuple(window.key for window in windows))
        prefix = self._prefixes.get(key)
        if prefix is None:
            prefix = load_prefix(self.store, self.model, windows)
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

    def _find(self, collection: str) -> CollectionRecord | None:
        try:
            return self.store.collection(collection)
        except UnknownCollectionError:
            return None

    def _check_fingerprint(self, record: CollectionRecord) -> None:
        ratio = _ratio(record)
        mine = self.model.fingerprint(ratio)
        if mine != record.fingerprint:
            raise FingerprintMismatchError(
                f"Collection {record.name!r} was made by another model: fingerprint {record.fingerprint} "
                f"({record.model}), and the model at hand has {mine} ({self.model.describe(ratio)}). Open the store "
                "with the model that made it, or add the documents to a new collection."
            )


def _ratio(record: CollectionRecord) -> int:
    """Return the ratio that a collection was made at."""
    ratio = record.model.get("ratio")
    if not isinstance(ratio, int) or ratio < 1:
        raise StoreFormatError(f"Collection {record.name!r} does not say at which ratio it was made: {record.model}.")
    return ratio


def _take_sources(options: dict[str, Any]) -> int:
    shown = options.pop("sources", 3)
    if not isinstance(shown, int) or shown < 0:
        raise ConfigError(f"sources must be a whole number of at least 0; it is {shown!r}.")
    return shown
