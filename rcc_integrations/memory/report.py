"""The report of a check of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem in the store.

    Args:
        kind: `index`, `record`, `collection`, `counters`, `reference-count`, `usage`, `blob-damaged`, `text-damaged`,
            `document-damaged`, `unreferenced`, `file-without-row`, `leftover` or `foreign`.
        what: A sentence that describes it.
        where: A path in the store's folder, an index key, or `collection/document`.
        repaired: Whether it has been repaired.
    """

    kind: str
    what: str
    where: str
    repaired: bool = False


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
    """

    problems: tuple[Problem, ...]
    damaged: tuple[DamagedDocument, ...]
    broken_blobs: tuple[str, ...]
    collections: int
    documents: int
    blobs: int
    texts: int

    @property
    def ok(self) -> bool:
        """Whether there are no unrepaired problems."""
        return not self.damaged and all(problem.repaired for problem in self.problems)
