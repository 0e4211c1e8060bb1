"""A collection as the reader holds it in RAM: its windows in order, and the router over their texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from cachetools import LRUCache

from rcc_integrations.document import digest_of
from rcc_integrations.errors import BlobsMissingError, CorruptBlobError, UnknownDocumentError
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
_TRIES = 5
#: So many characters may belong to two neighbouring windows: tokenizers cut some characters into several tokens.
_SHARED = 16


class CollectionView:
    """One revision of a collection.

    Args:
        snapshot: The collection and its documents.
        texts: The text of every document.
        store: Where it is kept; `None` if it is not.
    """

    def __init__(self, snapshot: Snapshot, texts: Sequence[str], store: MemoryStore | None = None) -> None:
        self.store = store
        self.record: CollectionRecord = snapshot.collection
        self.windows: list[WindowRecord] = []
        self._owners: list[DocumentRecord] = []
        self._texts: list[str] = []
        self._ranges: dict[str, range] = {}
        for document, text in zip(snapshot.documents, texts, strict=True):
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
        """
        if documents is None:
            return range(len(self.windows))
        chosen: list[int] = []
        for document in dict.fromkeys([documents] if isinstance(documents, str) else documents):
            if document not in self._ranges:
                raise UnknownDocumentError(document, self.record.name, list(self._ranges))
            chosen += self._ranges[document]
        return sorted(chosen)

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
            if held is not None and held.record == record:
                return held
        for attempt in range(_TRIES):
            snapshot = self._store.snapshot(name)
            try:
                texts = [self._store.text(document.text_key) for document in snapshot.documents]
                view = CollectionView(snapshot, texts, self._store)
                break
            except BlobsMissingError:
                # A document was replaced between the two reads.
                if attempt == _TRIES - 1 or self._store.collection(name).revision == snapshot.collection.revision:
                    raise
        with self._lock:
            self._held[record.uid] = view
        return view
