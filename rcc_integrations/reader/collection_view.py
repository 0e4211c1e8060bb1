"""A collection as the reader holds it in RAM: its windows in order, and the router over their texts."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache

from rcc_integrations.document import digest_of
from rcc_integrations.errors import (
    CorruptBlobError,
    StoreError,
    TextMissingError,
    UnknownDocumentError,
)
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord, Snapshot, WindowRecord
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.answer import Source
from rcc_integrations.routing.passage import Passage
from rcc_integrations.routing.word_router import WordRouter

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel

#: Collections that are held at once; the least recently used one makes room.
_HELD = 16
#: How long a collection that keeps changing is looked at anew.
PATIENCE_SECONDS = 30.0
_log = logging.getLogger(__name__)

#: So many characters may belong to two neighbouring windows: tokenizers cut some characters into several tokens.
_SHARED = 16


class CollectionView:
    """One revision of a collection.

    Args:
        snapshot: The collection and its documents.
        texts: The text of every document, or what is wrong with it: then the document is left out.
        store: Where it is kept; `None` if it is not.
    """

    def __init__(self, snapshot: Snapshot, texts: Sequence[str | StoreError], store: MemoryStore | None = None) -> None:
        self.store = store
        self.record: CollectionRecord = snapshot.collection
        self.windows: list[WindowRecord] = []
        self._owners: list[DocumentRecord] = []
        self._texts: list[str] = []
        self._ranges: dict[str, range] = {}
        self._faults: dict[str, StoreError] = {}
        #: Documents whose text is damaged or gone. Their records stay as they are when it is put back.
        self.left_out: list[DocumentRecord] = []
        for document, text in zip(snapshot.documents, texts, strict=True):
            if isinstance(text, StoreError):
                self._faults[document.id] = text
                self.left_out.append(document)
                continue
            _check_spans(document, text)
            first = len(self.windows)
            self.windows += document.windows
            self._owners += [document] * len(document.windows)
            self._texts += [text[window.start : window.end] for window in document.windows]
            self._ranges[document.id] = range(first, len(self.windows))

    @cached_property
    def words(self) -> WordRouter:
        """The router over the words of all windows."""
        return WordRouter(self._texts)

    @cached_property
    def owners(self) -> np.ndarray:
        """The number of the document of every window, ascending, shape (windows,)."""
        return np.repeat(np.arange(len(self._ranges)), [len(numbers) for numbers in self._ranges.values()])

    @property
    def slots(self) -> list[int]:
        """The slots of every window."""
        return [window.slots for window in self.windows]

    def numbers(self, documents: Iterable[str] | None = None) -> Sequence[int]:
        """Return the numbers of all windows, or of those of some documents.

        Raises:
            UnknownDocumentError: The collection lacks one of them.
            CorruptBlobError: The text of one of them, or of all documents, is damaged or gone.
        """
        if documents is None:
            if self._faults and not self.windows:
                raise self._fault(next(iter(self._faults)))
            return range(len(self.windows))
        chosen: list[int] = []
        for document in dict.fromkeys([documents] if isinstance(documents, str) else documents):
            if document in self._faults:
                raise self._fault(document)
            if document not in self._ranges:
                raise UnknownDocumentError(document, self.record.name, list(self._ranges))
            chosen += self._ranges[document]
        return sorted(chosen)

    def _fault(self, document: str) -> CorruptBlobError:
        error = self._faults[document]
        return CorruptBlobError(
            f"Document {document!r} of collection {self.record.name!r} cannot be used: {error} Add it again from its "
            "source."
        )

    def passages(self, numbers: Sequence[int], scores: Sequence[float] | np.ndarray) -> list[Passage]:
        """Return the texts of some windows, those that follow one another in a document as one.

        Args:
            numbers: The windows, in order.
            scores: How well each window of the collection fits the question; a passage has that of its best.
        """
        found: list[Passage] = []
        last = None
        for number in numbers:
            window, owner, score = self.windows[number], self._owners[number], float(scores[number])
            before = found[-1] if found and last == number - 1 and self._owners[number - 1] is owner else None
            if before is not None and before.start + len(before.text) == window.start:
                joined = Passage(owner.id, before.start, before.text + self._texts[number], max(before.score, score))
                found[-1] = joined
            else:
                found.append(Passage(owner.id, window.start, self._texts[number], score))
            last = number
        return found

    def window_text(self, number: int) -> str:
        """Return the text of a window."""
        return self._texts[number]

    def source(self, number: int, score: float, ceiling: float = 0.0) -> Source:
        """Return a window as a source.

        Args:
            number: The window.
            score: How well it fits.
            ceiling: The most that it could.
        """
        relevance = min(1.0, max(0.0, score / ceiling)) if ceiling > 0 else 0.0
        window, owner = self.windows[number], self._owners[number]
        return Source(owner.id, window.start, window.end, self._texts[number], score, dict(owner.metadata), relevance)


def _check_spans(document: DocumentRecord, text: str) -> None:
    """Refuse windows that cannot have been cut from a text: a few bytes of records could stand for endless copies.

    Raises:
        CorruptBlobError: The record counts other characters than the text has, or its windows overlap.
    """
    if document.characters != len(text):
        raise CorruptBlobError(
            f"The record of document {document.id!r} tells of {document.characters} characters; its text has "
            f"{len(text)}. Add the document again."
        )
    for before, window in itertools.pairwise(document.windows):
        if window.start < before.end - _SHARED:
            raise CorruptBlobError(
                f"Windows of document {document.id!r} overlap: characters {before.start} to {before.end} and "
                f"{window.start} to {window.end}. Add the document again."
            )


def unstored(model: RCCModel, name: str, texts: Mapping[str, str], ratio: int) -> CollectionView:
    """Return documents as a collection would hold them, cut and counted, without compressing or storing any.

    Args:
        model: The model that would compress them.
        name: Name of the collection.
        texts: Texts by document id.
        ratio: The ratio that they would be compressed at.
    """
    documents = []
    for order, (id, text) in enumerate(texts.items()):
        windows = tuple(
            WindowRecord(digest_of(repr(each.ids).encode()), each.start, each.end, len(each.ids),
                         model.slots(len(each.ids), ratio))
            for each in model.cut(text)
        )  # fmt: skip
        documents.append(
            DocumentRecord(
                id=id, order=order, text_key="", characters=len(text), tokens=sum(each.tokens for each in windows),
                slots=sum(each.slots for each in windows), windows=windows, digest="", metadata={}, added=0.0,
            )
        )  # fmt: skip
    collection = CollectionRecord(
        uid="", name=name, fingerprint=model.fingerprint(ratio), model=model.describe(ratio), storage="int8",
        revision=0, documents=len(documents), windows=sum(len(each.windows) for each in documents),
        tokens=sum(each.tokens for each in documents), slots=sum(each.slots for each in documents), created=0.0,
    )  # fmt: skip
    return CollectionView(Snapshot(collection, tuple(documents)), list(texts.values()))


class CollectionCache:
    """Keeps the collections that were used last, each at its newest revision.

    Args:
        store: The store.
    """

    def __init__(self, store: MemoryStore) -> None:
        self.store = self._store = store
        self._held: LRUCache[str, CollectionView] = LRUCache(_HELD)
        self._lock = ForkSafeLock()

    def get(self, name: str) -> CollectionView:
        """Return a collection as it is now.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        record = self._store.collection(name)
        with self._lock:
            held = self._held.get(record.uid)
        if held is not None and held.record == record and not any(map(self._store.is_whole, held.left_out)):
            return held
        view = self._read(name)
        with self._lock:
            self._held[record.uid] = view
        return view

    def _read(self, name: str) -> CollectionView:
        """Read a collection, anew as long as it changes meanwhile: what was read before is not read again."""
        texts: dict[str, str] = {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            snapshot = self._store.snapshot(name)
            found: list[str | StoreError] = []
            missing = False
            for document in snapshot.documents:
                key = document.text_key
                try:
                    texts[key] = texts[key] if key in texts else self._store.text(key)
                    found.append(texts[key])
                except TextMissingError as error:
                    found.append(error)
                    missing = True
                except CorruptBlobError as error:
                    found.append(error)
            if not missing or self._store.collection(name).revision == snapshot.collection.revision:
                break
            # A document was replaced between the two reads.
            if time.monotonic() > deadline:
                raise changing(name)
        for document, text in zip(snapshot.documents, found, strict=True):
            if isinstance(text, StoreError):
                _log.warning("Document %r of collection %r is left out of answers: %s", document.id, name, text)
        return CollectionView(snapshot, found, self._store)


def changing(name: str) -> StoreError:
    """Return the error for a collection that changes faster than it can be read."""
    return StoreError(
        f"Collection {name!r} kept changing for {PATIENCE_SECONDS:.0f} seconds, faster than it can be read: ask again "
        "when less is written to it, or put documents in fewer and larger steps."
    )
