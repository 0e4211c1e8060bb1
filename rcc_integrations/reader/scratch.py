"""Memory of what is not to be kept: long prompts, compressed once and gone with the process."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.collection_view import CollectionCache
from rcc_integrations.reader.ingest import Ingester
from rcc_integrations.reader.progress import Progress

if TYPE_CHECKING:
    from rcc_integrations.document import Document
    from rcc_integrations.model.rcc_model import RCCModel

#: Characters of text that stay compressed; the texts not used for longest make room.
_MOST_CHARACTERS = 2_000_000


class ScratchFolder:
    """A temporary folder that goes when its owner does, but never with a forked child.

    Args:
        owner: The folder lives as long as this object.
    """

    def __init__(self, owner: object) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="rcc-"))
        self.remove = weakref.finalize(owner, _remove, self.path, os.getpid())


def _remove(path: Path, made_by: int) -> None:
    if os.getpid() == made_by:
        shutil.rmtree(path, ignore_errors=True)


class Scratch:
    """Documents beside the store, in a temporary folder.

    Args:
        model: Returns the model.
    """

    def __init__(self, model: Callable[[], RCCModel]) -> None:
        self._model = model
        self._lock = ForkSafeLock(reset=self._begin_anew)
        self._begin_anew()

    def _begin_anew(self) -> None:
        # The child of a fork takes a folder of its own.
        self._folder: ScratchFolder | None = None
        self._collections: CollectionCache | None = None
        self._used: OrderedDict[tuple[str, str], int] = OrderedDict()

    @property
    def collections(self) -> CollectionCache:
        """The collections."""
        with self._lock:
            if self._collections is None:
                self._folder = ScratchFolder(self)
                self._collections = CollectionCache(MemoryStore.open(self._folder.path / "memory"))
            return self._collections

    def add(
        self,
        collection: str,
        documents: Mapping[str, Document],
        ratio: int,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Compress documents; those that are there cost nothing.

        Args:
            collection: Name of the collection.
            documents: By an id made from their content.
            ratio: Compression ratio.
            on_progress: Called after every batch; what it raises ends the work.
        """
        with self._lock:
            store, model = self.collections.store, self._model()
            missing = [each for name, each in documents.items() if (collection, name) not in self._used]
            if missing:
                record = store.create_collection(
                    collection, fingerprint=model.fingerprint(ratio), model=model.describe(ratio)
                )
                Ingester(store, self._model, record, ratio, on_progress).add(missing, skip=False)
            for name, document in documents.items():
                self._used[collection, name] = len(document.text)
                self._used.move_to_end((collection, name))
            self._make_room({(collection, name) for name in documents})

    def _make_room(self, kept: set[tuple[str, str]]) -> None:
        total = sum(self._used.values())
        for collection, name in list(self._used):
            if total <= _MOST_CHARACTERS:
                return
            if (collection, name) not in kept:
                total -= self._used.pop((collection, name))
                self.collections.store.delete_documents(collection, [name])

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            if self._collections is not None:
                self._collections.store.close()
            if self._folder is not None:
                self._folder.remove()
            self._collections, self._folder = None, None
            self._used.clear()
