"""`RCCReader`: documents in, compressed memory on disk, answers out."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from rcc_integrations.document import Document
from rcc_integrations.errors import (
    BlobsMissingError,
    EmptyCollectionError,
    FingerprintMismatchError,
    StoreError,
    UnknownCollectionError,
)
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord, WindowRecord
from rcc_integrations.memory.report import VerifyReport
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.answer import Answer, Source
from rcc_integrations.reader.answer_stream import AnswerStream
from rcc_integrations.reader.answering import AnswerEngine
from rcc_integrations.reader.batcher import Batcher
from rcc_integrations.reader.collection_view import CollectionCache
from rcc_integrations.reader.compatibility import check_fingerprint, ratio_of
from rcc_integrations.reader.ingest import AddReport, Ingester
from rcc_integrations.reader.prefix_cache import PrefixCache
from rcc_integrations.reader.prepared import Prepared
from rcc_integrations.reader.progress import Progress, progress_bar
from rcc_integrations.reader.repair import repair_documents
from rcc_integrations.reader.request import Request
from rcc_integrations.reader.routing_indices import RoutingIndices
from rcc_integrations.reader.sources import Readable, as_sources
from rcc_integrations.reader.ticket import Ticket
from rcc_integrations.reader.window_ranker import WindowRanker
from rcc_integrations.routing.route import Routing

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel


class RCCReader:
    """A model, a store and a router: the one place through which documents are added and questions answered.

    Open one with `RCCReader.open`; it is safe to share between threads, and several processes may open one store.

    Args:
        store: The store.
        model: The model, or what loads it when it is first needed; the default model if not given.
        prefix_cache_bytes: How much RAM prefixes that were used may keep.
    """

    def __init__(
        self,
        store: MemoryStore,
        model: RCCModel | Callable[[], RCCModel] | None = None,
        *,
        prefix_cache_bytes: int = 1 << 30,
    ) -> None:
        self.store = store
        self._model = model if _is_model(model) else None
        self._load_model = model or _load_default
        self._lock = threading.RLock()
        self._collections = CollectionCache(store)
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self._indices = RoutingIndices(store, lambda: self.model)
        self._ranker = WindowRanker(self._indices, lambda: self.model)
        self._engine = AnswerEngine(store, lambda: self.model, self._collections, self._prefixes, self._ranker)
        self._batcher = Batcher(self._engine)

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
            from rcc_integrations.model.rcc_model import RCCModel

            if model is None:
                return RCCModel.default(**model_options)
            return RCCModel.from_pretrained(model, **model_options)  # type: ignore[arg-type]

        opened = MemoryStore.open(store, create=create, read_only=read_only, size_limit=size_limit)
        return cls(opened, model if _is_model(model) else load, prefix_cache_bytes=prefix_cache_bytes)

    def close(self) -> None:
        """Finish what was asked, and close the store."""
        self._batcher.close()
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
        made_at = ratio_of(record)
        if (ratio or made_at) != made_at or (storage or record.storage) != record.storage:
            raise FingerprintMismatchError(
                f"Collection {collection!r} was made at ratio {made_at} and is stored as {record.storage}, not at "
                f"{ratio or made_at} as {storage or record.storage}. Leave these out, or name a new collection."
            )

        def model() -> RCCModel:
            check_fingerprint(record, self.model)
            return self.model

        with progress_bar(show_progress, on_progress) as tell:
            ingester = Ingester(self.store, model, record, made_at, tell, partial(self._index, record))
            return ingester.add(sources, skip=skip_unreadable)

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
            What was found; documents that are still damaged, or lost, are named in `damaged`.
        """
        report = self.store.verify(repair=repair, grace=grace)
        mendable = repair and any(one.text_intact for one in report.damaged)
        return repair_documents(self.store, self.model, report, grace) if mendable else report

    # Questions

    def ask(self, collection: str, question: str, **options: Any) -> Answer:
        """Answer a question from a collection's memories.

        Args:
            collection: Name of the collection.
            question: The question; it is never compressed.
            **options: `documents` (ids: only these), `max_windows` (the most windows in memory; the number that the
                model was trained with if not given), `sources` (how many to return, 3), `grammar`, `grounded` (hold the
                answer to words that stand in the texts in memory, and say where), `expand` (so many of the windows that
                fit best are read in clear), `routing` (how windows are chosen: by `both` memory and words, by `memory`,
                or by `words`), `vote` (answer from each of so many windows on its own and take the answer that decoder
                and router are surest of), `min_confidence` (below it the answer is `not stated`), and the fields of
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
        requests = [Request.about(collection, question, options) for collection, question in questions]
        return self._batcher.generate([self._engine.prepare(request) for request in requests])

    def stream(self, collection: str, question: str, **options: Any) -> AnswerStream:
        """Answer a question piece by piece.

        Args:
            collection: Name of the collection.
            question: The question.
            **options: As in `ask`.

        Returns:
            An iterator over pieces of text, also an asynchronous one; its `answer` is the whole answer once it is at
            its end. Closing it stops the work.

        Raises:
            RCCError: As in `ask`; errors while generating are raised by the iterator.
        """
        prepared = self._engine.prepare(Request.about(collection, question, options))
        return AnswerStream(lambda emit: self._batcher.submit(prepared, emit))

    def submit(self, request: Request, emit: Callable[[str], None] | None = None) -> Ticket:
        """Hand in a request without waiting; those that are handed in at about the same time are answered in one batch.

        Args:
            request: The request.
            emit: Called with pieces of the answer as they become certain, in another thread.

        Returns:
            A ticket: `answer` is a future that also carries errors, `cancel` stops the work.
        """
        return self._batcher.submit(request, emit)

    def stream_request(self, request: Request, timeout: float | None = None, *, held: bool = False) -> AnswerStream:
        """Answer a request piece by piece, beside others that are handed in at about the same time.

        Args:
            request: The request; its windows are chosen once the stream is iterated over.
            timeout: Seconds without a new piece after which the answer is given up; `None` for no limit.
            held: Withhold all pieces; the stream ends when the answer is whole.

        Returns:
            As `stream`.
        """
        return AnswerStream(lambda emit: self._batcher.submit(request, None if held else emit), timeout)

    def prepare(self, request: Request) -> Prepared:
        """Choose a request's windows and load their memories, without generating; for counting positions beforehand."""
        return self._engine.prepare(request)

    def cover(self, request: Request) -> list[Request]:
        """Split a request over more memory than fits into requests that together read every window.

        Args:
            request: The request.

        Returns:
            Requests that differ in their windows alone; one if everything fits.

        Raises:
            RCCError: As in `ask`.
        """
        return self._engine.cover(request)

    def search(
        self,
        collection: str,
        query: str,
        k: int = 5,
        *,
        documents: Iterable[str] | None = None,
        routing: Routing = "both",
    ) -> list[Source]:
        """Return the windows that fit a query best, best first.

        Args:
            collection: Name of the collection.
            query: What to look for.
            k: The most windows to return.
            documents: Search only these.
            routing: How windows are ranked: by `both` memory and words, by `memory`, or by `words` alone, for which no
                model is loaded; windows that share no word with the query are then left out.

        Returns:
            Windows with their scores: the probability that a window is the one asked for, or BM25 with `words`.

        Raises:
            ConfigError: `routing` is not known, or the model cannot find windows by memory.
            FingerprintMismatchError: The memories were made by another model.
            UnknownCollectionError: There is no such collection.
        """
        view = self._collections.get(collection)
        if not query.strip() or not view.windows:
            return []
        if routing != "words":
            check_fingerprint(view.record, self.model)
        numbers = view.numbers(documents)
        scores = self._ranker.scorer(view, query, numbers, routing)()
        ranked = sorted((number for number in numbers if scores[number] > 0), key=lambda number: -scores[number])
        return [view.source(number, float(scores[number])) for number in ranked[: max(k, 0)]]

    def _index(self, record: CollectionRecord, windows: Sequence[WindowRecord]) -> None:
        """Add windows to a collection's routing index; without it the documents are there all the same."""
        try:
            self._indices.complete(record, windows)
        except BlobsMissingError:
            pass  # removed again meanwhile
        except StoreError as error:
            warnings.warn(f"{error} It is completed when the collection is next asked.", stacklevel=2)

    def _find(self, collection: str) -> CollectionRecord | None:
        try:
            return self.store.collection(collection)
        except UnknownCollectionError:
            return None


def _is_model(model: object) -> TypeGuard[RCCModel]:
    """Tell a model from what loads one, without importing torch: who has a model has imported it."""
    module = sys.modules.get("rcc_integrations.model.rcc_model")
    return module is not None and isinstance(model, module.RCCModel)


def _load_default() -> RCCModel:
    from rcc_integrations.model.rcc_model import RCCModel

    return RCCModel.default()
