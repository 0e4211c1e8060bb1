"""Reads every row of an index and works out what the counts in it should be."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.index import CHANGES, Rows
from rcc_integrations.memory.json_disk import Row, Unreadable
from rcc_integrations.memory.json_value import JSON
from rcc_integrations.memory.ledger import BlobRow, TextRow, Usage
from rcc_integrations.memory.lookup import totals
from rcc_integrations.memory.names import is_key
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord
from rcc_integrations.memory.report import DamagedDocument, Problem


@dataclass(slots=True)
class BadRow:
    """A row that is damaged.

    Args:
        reason: What is wrong.
        text: Its value as it stands there.
        rowids: SQLite's numbers of it (a damaged database can hold one key several times).
    """

    reason: str
    text: JSON
    rowids: list[int]


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
        changes: How many transactions changed something.
        homeless: Keys of sound documents by the uid of their collection, which has no sound record.
        bad: Rows that are damaged, by index key.
        foreign: What is wrong by index key, for rows that this package does not write.
    """

    names: dict[str, str] = field(default_factory=dict)
    collections: dict[str, CollectionRecord] = field(default_factory=dict)
    documents: dict[str, DocumentRecord] = field(default_factory=dict)
    blobs: dict[str, BlobRow] = field(default_factory=dict)
    texts: dict[str, TextRow] = field(default_factory=dict)
    usage: Usage | None = field(default_factory=Usage)
    changes: int = 0
    homeless: dict[str, list[str]] = field(default_factory=dict)
    bad: dict[str, BadRow] = field(default_factory=dict)
    foreign: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Rows) -> Survey:
        """Read all rows of a transaction; a row that is damaged stops nothing."""
        survey = cls()
        for row in rows.everything():
            if isinstance(row.value, Unreadable):
                if row.value.foreign:
                    survey.foreign[row.key] = row.value.reason
                else:
                    survey._note(row, row.value.reason, row.value.text)
                continue
            try:
                survey._take(row.key, row.value)
            except CorruptBlobError as error:
                survey._note(row, str(error), str(row.value))
        if ledger.USAGE in survey.bad:
            survey.usage = None
        survey._judge_homes()
        return survey

    def _note(self, row: Row, reason: str, text: JSON) -> None:
        self.bad.setdefault(row.key, BadRow(reason, text, [])).rowids.append(row.rowid)

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
            if home_of(key) in homes:
                homes[home_of(key)].append(record)
        return {uid: recounted(self.collections[uid], records) for uid, records in homes.items()}

    def foreign_windows(self, key: str) -> set[str]:
        """Return the keys of those memories of a document that another model made than its collection's."""
        home = self.collections.get(home_of(key))
        if home is None:
            return set()
        rows = {blob: self.blobs[blob] for blob in self.documents[key].keys if blob in self.blobs}
        return {blob for blob, row in rows.items() if row.fingerprint not in ("", home.fingerprint)}

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
        for key, row in self.bad.items():
            yield Problem("record", row.reason, key)
        for uid, documents in self.homeless.items():
            yield Problem(
                "collection",
                f"The record of collection {self.collection_name(uid)!r} is damaged or gone; its {len(documents)} "
                "documents are there.",
                ledger.COLLECTION + uid,
            )
        expectations = self.expected_collections()
        for uid, record in self.collections.items():
            if self.names.get(record.name) != uid:
                yield Problem("collection", f"Collection {record.name!r} is not found by its name.", record.name)
            expected = expectations[uid]
            if record != expected:
                counts = f"Collection {record.name!r} counts {_counters(record)} documents, windows, tokens and slots"
                yield Problem("counters", f"{counts} but has {_counters(expected)}.", record.name)
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
        if key == CHANGES:
            if type(value) is not int or value < 0:
                raise CorruptBlobError(f"The index counts its changes as {value!r}.")
            self.changes = value
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
        """Find documents of collections without a record, and names of collections that are not there."""
        for key in self.documents:
            if home_of(key) not in self.collections:
                self.homeless.setdefault(home_of(key), []).append(key)
        for name, uid in list(self.names.items()):
            if uid in self.homeless:
                continue
            if uid not in self.collections:
                self.bad[ledger.NAME + name] = BadRow(f"Collection {name!r} has no sound record.", uid, [])
            elif self.collections[uid].name != name:
                reason = f"Collection {self.collections[uid].name!r} is also found as {name!r}."
                self.bad[ledger.NAME + name] = BadRow(reason, uid, [])


def home_of(key: str) -> str:
    """Return the uid of the collection that a document's index key belongs to."""
    return key.split(":", 2)[1]


def recounted(record: CollectionRecord, documents: list[DocumentRecord]) -> CollectionRecord:
    """Return a collection's record with the counters that its documents give."""
    number, windows, tokens, slots = totals(documents)
    return replace(record, documents=number, windows=windows, tokens=tokens, slots=slots)


def _counters(record: CollectionRecord) -> tuple[int, int, int, int]:
    return record.documents, record.windows, record.tokens, record.slots
