"""`RCCReader`: documents in, compressed memory on disk, answers out."""

from __future__ import annotations

import sys
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
    RCCError,
    StoreError,
    UnknownCollectionError,
)
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.memory.expiry import Expiry
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
from rcc_integrations.reader.repair import verify_store
from rcc_integrations.reader.request import Request
from rcc_integrations.reader.routing_indices import RoutingIndices
from rcc_integrations.reader.scratch import Scratch
from rcc_integrations.reader.sources import Readable, as_sources
from rcc_integrations.reader.ticket import Ticket
from rcc_integrations.reader.window_ranker import WindowRanker
from rcc_integrations.routing.route import Routing

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel


class RCCReader:
    """A model and a store: adds documents to collections, and answers questions from them.

    Use `RCCReader.open` to get one. A reader may be shared between threads, and several processes may open the same
    store.

    Args:
        store: The store.
        model: The model, or a function that loads it when it is first needed; the default model if not given.
        prefix_cache_bytes: Maximum size of the cache of used prefixes in RAM.
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
        self._lock = ForkSafeLock()
        self._collections = CollectionCache(store)
        self._prefixes = PrefixCache(prefix_cache_bytes)
        self.scratch = Scratch(lambda: self.model)
        self._indices = RoutingIndices(lambda: self.model)
        self._ranker = WindowRanker(self._indices, lambda: self.model)
        self._engine = AnswerEngine(
            store, lambda: self.model, self._collections, self._prefixes, self.scratch, self._ranker
        )
        self._batcher = Batcher(self._engine)
        self.closed = False
        #: Arguments of `open` that make the same reader in another process; `None` if there are none.
        self.opened_with: dict[str, Any] | None = None

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
        """Open a store, or create one, together with a model.

        Args:
            store: The store's folder.
            model: A model, or the folder or hub id of one; the default model if not given. It is loaded when it is
                first needed.
            create: Create the store if it does not exist.
            read_only: Change nothing.
            size_limit: Maximum size of memories and texts in bytes.
            prefix_cache_bytes: Maximum size of the cache of used prefixes in RAM.
            **model_options: `device`, `dtype`, `attn`, `merge` and `base`, for loading the model; see
                `RCCModel.from_pretrained`.

        Raises:
            StoreError: There is no store and `create` is false, or it cannot be opened.
        """

        def load() -> RCCModel:
            from rcc_integrations.model.rcc_model import RCCModel

            if model is None:
                return RCCModel.default(**model_options)
            return RCCModel.from_pretrained(model, **model_options)  # type: ignore[arg-type]

        opened = MemoryStore.open(store, create=create, read_only=read_only, size_limit=size_limit)
        reader = cls(opened, model if _is_model(model) else load, prefix_cache_bytes=prefix_cache_bytes)
        if not _is_model(model):
            named = None if model is None else str(model)
            place = {"store": str(opened.path), "read_only": read_only, "size_limit": size_limit}
            reader.opened_with = {**place, "model": named, "prefix_cache_bytes": prefix_cache_bytes, **model_options}
        return reader

    def close(self) -> None:
        """Finish what was asked, close the store, and let the weights go."""
        self._batcher.close()
        self.store.close()
        self.scratch.close()
        self.closed = True
        self._model, self._load_model = None, _refuse

    def __copy__(self) -> RCCReader:
        return self  # it is shared, like the store that it has open

    def __deepcopy__(self, memo: dict[int, Any]) -> RCCReader:
        return self

    def __reduce__(self) -> Any:
        """Pickle where the store is and which model reads it; the other process opens both itself."""
        if self.opened_with is None:
            raise TypeError(
                "A reader over a loaded RCCModel cannot be pickled: open it with the model's folder or hub id "
                "(RCCReader.open(store, model='…')), so that another process can load it, too."
            )
        return _open_again, (self.opened_with,)

    def __enter__(self) -> RCCReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def model(self) -> RCCModel:
        """The model, loaded lazily."""
        with self._lock:
            if self._model is None:
                self._model = self._load_model() if callable(self._load_model) else self._load_model
            return self._model

    @property
    def is_loaded(self) -> bool:
        """Whether the model is loaded."""
        return self._model is not None

    # Documents

    def add(
        self,
        collection: str,
        documents: Mapping[str, str] | Iterable[Document | Readable],
        *,
        ratio: int | None = None,
        storage: str | None = None,
        untrained: bool = False,
        ttl: float | None = None,
        renew: bool = False,
        skip_unreadable: bool = False,
        show_progress: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AddReport:
        """Add documents to a collection, or replace those that changed. The collection is created if it does not exist.

        Each document becomes visible when all its windows are stored. An interrupted run continues where it stopped
        when it is started again.

        Args:
            collection: Name of the collection.
            documents: Texts by id, `Document`s, or files as returned by `find_files`.
            ratio: Compression ratio of a new collection; the model's default if not given.
            storage: Number format of the memories of a new collection: `int8` (if not given), `bfloat16` or `float32`.
            untrained: Allow a ratio for which the model has no trained adapter.
            ttl: Time to live of the collection in seconds, from the end of this call; unchanged if not given.
            renew: Whether every question to the collection starts that time anew.
            skip_unreadable: Report documents that cannot be read instead of raising an exception.
            show_progress: Show a progress bar on standard error.
            on_progress: Callback invoked after every batch and every document.

        Returns:
            What was done.

        Raises:
            ConfigError: An argument is invalid.
            EmptyDocumentError: A document has no text.
            FingerprintMismatchError: The collection was made by another model, or at another ratio.
            StoreError: The store cannot take them; documents that were finished before stay added.
        """
        expiry = None if ttl is None else Expiry.after(ttl, renew=renew)
        sources = as_sources(documents)
        record = self._find(collection)
        if record is None and not sources:
            raise EmptyCollectionError(f"There is nothing to add, so collection {collection!r} is not made.")
        if record is None:
            record = self.create(collection, ratio=ratio, storage=storage, untrained=untrained)
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
            report = ingester.add(sources, skip=skip_unreadable)
        if expiry is not None:
            self.store.set_expiry(collection, expiry.renewed())
        return report

    def create(
        self, collection: str, *, ratio: int | None = None, storage: str | None = None, untrained: bool = False
    ) -> CollectionRecord:
        """Make an empty collection; one that is there already, of this model and storage, is returned as it is.

        Args:
            collection: Its name.
            ratio: Its compression ratio; the model's own if not given.
            storage: How it stores memories: `int8` (if not given), `bfloat16` or `float32`.
            untrained: Allow a ratio for which the model has no trained adapter.

        Raises:
            ConfigError: An argument is invalid.
            FingerprintMismatchError: There is one that another model made.
        """
        ratio = self.model.check_ratio(ratio, untrained=untrained)
        return self.store.create_collection(
            collection,
            fingerprint=self.model.fingerprint(ratio),
            model=self.model.describe(ratio),
            storage=storage or "int8",
        )

    def set_expiry(self, collection: str, ttl: float | None, *, renew: bool = False) -> CollectionRecord:
        """Say when a collection is gone by itself.

        Args:
            collection: Its name.
            ttl: Seconds from now; `None` for never.
            renew: Whether every question to it begins that time anew.

        Raises:
            UnknownCollectionError: There is no such collection.
            ConfigError: The time cannot be used.
        """
        return self.store.set_expiry(collection, None if ttl is None else Expiry.after(ttl, renew=renew))

    def delete(self, collection: str, documents: Iterable[str]) -> list[DocumentRecord]:
        """Remove documents in one transaction: all of them or none.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: One of them is not in the collection; nothing was changed.
        """
        ids = [documents] if isinstance(documents, str) else documents
        return self.store.delete_documents(collection, ids)

    def drop(self, collection: str) -> CollectionRecord:
        """Remove a collection and all its documents.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        return self.store.drop_collection(collection)

    def rename(self, old: str, new: str) -> CollectionRecord:
        """Rename a collection.

        Raises:
            UnknownCollectionError: There is no such collection.
            ConfigError: The new name is in use.
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
            UnknownDocumentError: The collection has no such document.
        """
        return self.store.text(self.store.document(collection, document).text_key)

    def verify(self, *, repair: bool = False, grace: float = 3600.0, dry_run: bool = False) -> VerifyReport:
        """Check the whole store.

        A repair deletes nothing: what it takes out goes to the store's folder `lost+found`, with a record of why.

        Args:
            repair: Repair what can be repaired: take out what is broken or not needed, recount, rebuild records from
                what proves them, and compress documents with broken memories again from their stored text (if the
                model at hand is the one that made them).
            grace: Seconds that unused memories are left alone; another process may be about to use them.
            dry_run: With `repair`: tell what it would do, and do nothing.

        Returns:
            A report; documents that are still damaged, or lost, are named in `damaged`.
        """
        return verify_store(self.store, lambda: self.model, repair=repair, grace=grace, dry_run=dry_run)

    # Questions

    def ask(self, collection: str, question: str, **options: Any) -> Answer:
        """Answer a question from a collection.

        Args:
            collection: Name of the collection.
            question: The question; it is never compressed.
            **options: `documents` (answer only from these ids), `max_windows` (maximum number of windows in memory; the
                model's own setting if not given), `sources` (how many to return; 3), `grammar`, `grounded` (restrict
                the answer to verbatim spans of the texts in memory), `expand` (how many of the best windows to insert
                as uncompressed text), `routing` (choose windows by `both` memory and words, by `memory` or by `words`),
                `vote` (answer from each of this many windows alone and return the answer with the highest confidence),
                `min_confidence` (abstain with `not stated` below it), and the fields of
                `GenerationOptions`: `max_new_tokens`, `temperature`, `stop`, `seed`, ….

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownDocumentError: One of the documents is not in the collection.
            EmptyCollectionError: The collection, or the selection of documents, is empty.
            FingerprintMismatchError: The collection was made by another model.
            BudgetError: The question and its answer do not fit the decoder's positions.
            ConfigError: The question is empty, or an option is invalid.
        """
        return self.ask_batch([(collection, question)], **options)[0]

    def ask_batch(self, questions: Sequence[tuple[str, str]], **options: Any) -> list[Answer]:
        """Answer several questions in one batch, each from its own memories.

        Args:
            questions: Pairs of collection and question.
            **options: As in `ask`; they apply to all questions.

        Raises:
            RCCError: As in `ask`.
        """
        requests = [Request.about(collection, question, options) for collection, question in questions]
        return self._batcher.generate([self._engine.prepare(request) for request in requests])

    def stream(self, collection: str, question: str, **options: Any) -> AnswerStream:
        """Stream the answer to a question.

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
        """Submit a request without waiting; requests submitted at about the same time share a batch.

        Args:
            request: The request.
            emit: Callback for pieces of the answer, invoked in another thread.

        Returns:
            A ticket: `answer` is a future, `cancel` stops the generation.
        """
        return self._batcher.submit(request, emit)

    def stream_request(self, request: Request, timeout: float | None = None, *, held: bool = False) -> AnswerStream:
        """Answer a request piece by piece, beside others that are handed in at about the same time.

        Args:
            request: The request; its windows are chosen once the stream is iterated over.
            timeout: Seconds without a new piece after which the answer is abandoned; `None` for no limit.
            held: Withhold all pieces; the stream ends when the answer is whole.

        Returns:
            As `stream`.
        """
        return AnswerStream(lambda emit: self._batcher.submit(request, None if held else emit), timeout)

    def prepare(self, request: Request) -> Prepared:
        """Choose a request's windows and load their memories without generating an answer."""
        return self._engine.prepare(request)

    def count(self, request: Request, texts: Mapping[str, Mapping[str, str]], ratio: int | None = None) -> int:
        """Return how many positions a request would take in front of its answer; nothing is loaded or stored.

        Args:
            request: The request.
            texts: Texts by document id by collection that the request names and that need not be stored yet.
            ratio: The ratio that they would be compressed at.

        Raises:
            RCCError: As in `ask`, but for what does not fit: it is counted all the same.
        """
        return self._engine.count(request, texts, ratio)

    def cover(self, request: Request) -> list[Request]:
        """Split a request over more memory than fits into several requests that together cover every window.

        Args:
            request: The request.

        Returns:
            Requests that differ only in their windows; a single one if everything fits.

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
        """Return the windows that match a query best, best first.

        Args:
            collection: Name of the collection.
            query: The query.
            k: Maximum number of windows.
            documents: Search only these.
            routing: Rank windows by `both` memory and words, by `memory`, or by `words` alone. With `words` no model is
                loaded, and windows that share no word with the query are not returned.

        Returns:
            Windows with their scores: the probability that a window is the one asked for, or BM25 with `words`.

        Raises:
            ConfigError: `routing` is unknown, or the model cannot find windows by memory.
            FingerprintMismatchError: The collection was made by another model.
            UnknownCollectionError: There is no such collection.
        """
        view = self._collections.get(collection)
        numbers = view.numbers(documents)
        if not query.strip() or not view.windows:
            return []
        if routing != "words":
            check_fingerprint(view.record, self.model)
        scorer = self._ranker.scorer(view, query, numbers, routing)
        scores, ceiling = scorer.scores(), scorer.ceiling()
        ranked = sorted((number for number in numbers if scores[number] > 0), key=lambda number: -scores[number])
        return [view.source(number, float(scores[number]), ceiling) for number in ranked[: max(k, 0)]]

    def _index(self, record: CollectionRecord, windows: Sequence[WindowRecord]) -> None:
        """Add windows to a collection's routing index; without it the documents are there all the same."""
        try:
            self._indices.complete(self.store, record, windows)
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


def _refuse() -> RCCModel:
    raise RCCError("The reader is closed: open it again to use its model.")


def _open_again(options: dict[str, Any]) -> RCCReader:
    return RCCReader.open(**options)


def _load_default() -> RCCModel:
    from rcc_integrations.model.rcc_model import RCCModel

    return RCCModel.default()
