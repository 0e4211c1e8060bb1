"""The report of a check of the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from rcc_integrations.memory.records import DocumentRecord


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in the store.

    Args:
        kind: `marker`, `index`, `index-behind`, `log`, `record`, `collection`, `counters`, `reference-count`, `usage`,
            `blob-damaged`, `text-damaged`, `foreign-memory`, `document-damaged`, `document-lost`, `unreferenced`,
            `file-without-row`, `leftover`, `routing-index`, `unreadable` or `foreign`.
        what: A sentence that names it.
        where: A path in the store's folder, an index key, or `collection/document`.
        repaired: Whether it has been put right.
        action: What a repair did about it, or would do; empty where it does nothing.
    """

    kind: str
    what: str
    where: str
    repaired: bool = False
    action: str = ""


class DamagedDocument(NamedTuple):
    """A document that has to be added or compressed again.

    Args:
        collection: Name of its collection.
        document: Its id.
        text_intact: Whether its text is still in the store, so that it can be compressed again.
    """

    collection: str
    document: str
    text_intact: bool


@dataclass(frozen=True, slots=True)
class LostCollection:
    """A collection whose record cannot be read, though its documents can.

    Args:
        uid: Its uid.
        name: What it was called, as far as that is known.
        documents: Its documents.
        storage: How its memories are stored; empty where nothing tells.
    """

    uid: str
    name: str
    documents: tuple[DocumentRecord, ...]
    storage: str


#: Tells fingerprint and description of the model that made a lost collection; None where it cannot prove them. Who
#: has a model can: the key of a memory is a hash over the fingerprint and the tokens of its window.
Rebuild: TypeAlias = Callable[[LostCollection], tuple[str, dict[str, Any]] | None]


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The report of a check of the store.

    Args:
        problems: All problems, including those that were repaired.
        damaged: Documents that have to be added or compressed again.
        broken_blobs: Keys of memories that are missing or damaged.
        collections: Collections checked.
        documents: Documents checked.
        blobs: Blobs checked.
        texts: Texts checked.
        failure: Why damaged documents were not compressed again, or a lost collection not rebuilt; empty where nothing
            failed.
    """

    problems: tuple[Problem, ...]
    damaged: tuple[DamagedDocument, ...]
    broken_blobs: tuple[str, ...]
    collections: int
    documents: int
    blobs: int
    texts: int
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether there are no unrepaired problems."""
        return not self.damaged and all(problem.repaired for problem in self.problems)
