"""What a check of a store found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Args:
        kind: `index`, `record`, `collection`, `counters`, `reference-count`, `usage`, `blob-damaged`, `text-damaged`,
            `document-damaged`, `unreferenced`, `file-without-row`, `leftover` or `foreign`.
        what: A sentence that names it.
        where: A path in the store's folder, an index key, or `collection/document`.
        repaired: Whether it has been put right.
    """

    kind: str
    what: str
    where: str
    repaired: bool = False


class DamagedDocument(NamedTuple):
    """A document that has to be added, or compressed, again.

    Args:
        collection: Name of its collection.
        document: Its id.
        text_intact: Whether the store still has its text, so that it can be compressed again from there.
    """

    collection: str
    document: str
    text_intact: bool


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a check looked at and found.

    Args:
        problems: All that is or was wrong.
        damaged: Documents that have to be added, or compressed, again.
        broken_blobs: Keys of memories that are gone or not what was stored.
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
        """Whether nothing is wrong (any more)."""
        return not self.damaged and all(problem.repaired for problem in self.problems)
