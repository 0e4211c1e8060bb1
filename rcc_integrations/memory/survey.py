"""Reads every row of an index and works out what the counts in it should be."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.index import Rows
from rcc_integrations.memory.json_disk import Unreadable
from rcc_integrations.memory.ledger import BlobRow, TextRow, Usage
from rcc_integrations.memory.names import is_key
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord
from rcc_integrations.memory.report import DamagedDocument, Problem


@dataclass(slots=True)
class Survey:
    """All rows of an index at one instant.

    Args:
        names: Uid by collection name.
        collections: Sound collection records by uid.
        documents: Sound document records by index key.
        blobs: Blob rows by key.
        texts: Text rows by key.
        usage: The row of bytes used; None where it is damaged.
        bad: What is wrong by index key, for rows that are damaged.
        foreign: What is wrong by index key, for rows that this package does not write.
    """

    names: dict[str, str] = field(default_factory=dict)
    collections: dict[str, CollectionRecord] = field(default_factory=dict)
    documents: dict[str, DocumentRecord] = field(default_factory=dict)
    blobs: dict[str, BlobRow] = field(default_factory=dict)
    texts: dict[str, TextRow] = field(default_factory=dict)
    usage: Usage | None = field(default_factory=Usage)
    bad: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Rows) -> Survey:
        """Read all rows of a transaction; a row that is damaged stops nothing."""
        survey = cls()
        for key, value in rows.everything():
            if isinstance(value, Unreadable):
                (survey.foreign if value.foreign else survey.bad)[key] = value.reason
                continue
            try:
                survey._take(key, value)
            except CorruptBlobError as error:
                survey.bad[key] = str(error)
        if ledger.USAGE in survey.bad:
            survey.usage = None
        survey._judge_homes()
        return survey

    def expected_blob_counts(self) -> Counter[str]:
        """Return how many documents need each blob."""
        return Counter(key for record in self.documents.values() for key in record.keys)

    def expected_text_counts(self) -> Counter[str]:
        """Return how many documents have each text."""
        return Counter(record.text_key for record in self.documents.values())

    def expected_usage(self) -> Usage:
        """Return the bytes of all rows."""
        return Usage(sum(row.bytes for row in self.blobs.values()), sum(row.bytes for row in self.texts.values()))

    def expected_collections(self) -> dict[str, CollectionRecord]:
        """Return by uid the collections' records with counters as their documents have them."""
        homes: dict[str, list[DocumentRecord]] = {uid: [] for uid in self.collections}
        for key, record in self.documents.items():
            homes[home_of(key)].append(record)
        return {
            uid: replace(
                self.collections[uid],
                documents=len(records),
                windows=sum(len(record.windows) for record in records),
                tokens=sum(record.tokens for record in records),
                slots=sum(record.slots for record in records),
            )
            for uid, records in homes.items()
        }

    def holder(self, name: str) -> str | None:
        """Return the uid of the collection that is rightly found by a name."""
        uid = self.names.get(name)
        return uid if uid in self.collections and self.collections[uid].name == name else None

    def collection_name(self, uid: str) -> str:
        """Return the name of a collection, or its uid where it has none."""
        if uid in self.collections:
            return self.collections[uid].name
        return next((name for name, other in self.names.items() if other == uid), uid)

    def lost_documents(self) -> list[DamagedDocument]:
        """Return the documents whose records cannot be used any more."""
        lost = [key for key in self.bad if key.startswith(ledger.DOCUMENT)]
        return [DamagedDocument(self.collection_name(home_of(key)), key.split(":", 2)[-1], False) for key in lost]

    def unused(self, grace: float) -> list[str]:
        """Return the keys of blobs that no document needs and that are older than a grace time in seconds."""
        needed, now = self.expected_blob_counts(), time.time()
        return [key for key, row in self.blobs.items() if not needed[key] and (grace <= 0 or now - row.put >= grace)]

    def problems(self, grace: float) -> Iterator[Problem]:
        """Give all that is wrong with the rows themselves."""
        for key, reason in self.foreign.items():
            yield Problem("foreign", reason, key)
        for key, reason in self.bad.items():
            yield Problem("record", reason, key)
        expectations = self.expected_collections()
        for uid, record in self.collections.items():
            if self.names.get(record.name) != uid:
                yield Problem("collection", f"Collection {record.name!r} is not found by its name.", record.name)
            expected = expectations[uid]
            if record != expected:
                yield Problem(
                    "counters",
                    f"Collection {record.name!r} counts {_counters(record)} documents, windows, tokens and slots "
                    f"but has {_counters(expected)}.",
                    record.name,
                )
        yield from self._count_problems()
        for key in self.unused(grace):
            yield Problem("unreferenced", f"No document needs the memory {key[:12]}….", ledger.BLOB + key)
        if self.usage is not None and self.usage != self.expected_usage():
            yield Problem(
                "usage", f"The index counts {self.usage}, its rows add up to {self.expected_usage()}.", "usage"
            )

    def _count_problems(self) -> Iterator[Problem]:
        needed, wanted = self.expected_blob_counts(), self.expected_text_counts()
        for key, row in self.blobs.items():
            if row.count != needed[key]:
                yield Problem(
                    "reference-count",
                    f"Memory {key[:12]}… is counted {row.count} times and needed by {needed[key]} documents.",
                    ledger.BLOB + key,
                )
        for key, text in self.texts.items():
            if text.count != wanted[key] or not text.count:
                yield Problem(
                    "reference-count",
                    f"Text {key[:12]}… is counted {text.count} times and needed by {wanted[key]} documents.",
                    ledger.TEXT + key,
                )

    def _take(self, key: str, value: object) -> None:
        if key == ledger.USAGE:
            self.usage = Usage.from_json(value)  # type: ignore[arg-type]
            return
        kind, _, rest = key.partition(":")
        match kind + ":":
            case ledger.NAME if type(value) is str:
                self.names[rest] = value
            case ledger.COLLECTION:
                record = CollectionRecord.from_json(value)  # type: ignore[arg-type]
                if record.uid != rest:
                    raise CorruptBlobError(f"The record of collection {record.uid!r} is in the place of {rest!r}.")
                self.collections[rest] = record
            case ledger.DOCUMENT:
                document = DocumentRecord.from_json(value)  # type: ignore[arg-type]
                if document.id != rest.partition(":")[2]:
                    raise CorruptBlobError(f"The record of document {document.id!r} is in the place of {rest!r}.")
                self.documents[key] = document
            case ledger.BLOB if is_key(rest):
                self.blobs[rest] = BlobRow.from_json(value)  # type: ignore[arg-type]
            case ledger.TEXT if is_key(rest):
                self.texts[rest] = TextRow.from_json(value)  # type: ignore[arg-type]
            case _:
                raise CorruptBlobError(f"The index holds the unknown row {key[:80]!r}.")

    def _judge_homes(self) -> None:
        """Count documents and names of collections that have no sound record as damaged rows."""
        for key in [key for key in self.documents if home_of(key) not in self.collections]:
            self.bad[key] = f"Document {self.documents.pop(key).id!r} belongs to a collection that has no record."
        for name, uid in list(self.names.items()):
            if uid not in self.collections:
                self.bad[ledger.NAME + name] = f"Collection {name!r} has no sound record."
            elif self.collections[uid].name != name:
                self.bad[ledger.NAME + name] = f"Collection {self.collections[uid].name!r} is also found as {name!r}."


def home_of(key: str) -> str:
    """Return the uid of the collection that a document's index key belongs to."""
    return key.split(":", 2)[1]


def _counters(record: CollectionRecord) -> tuple[int, int, int, int]:
    return record.documents, record.windows, record.tokens, record.slots
