"""What a repair does to the rows of an index, all of it in one transaction."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rcc_integrations.errors import RCCError, StoreError
from rcc_integrations.memory import backup, ledger
from rcc_integrations.memory.contents import Contents
from rcc_integrations.memory.examine import Findings
from rcc_integrations.memory.index import CHANGES, WriteTransaction
from rcc_integrations.memory.json_value import JSON
from rcc_integrations.memory.ledger import BlobRow, TextRow
from rcc_integrations.memory.lost_found import LostAndFound
from rcc_integrations.memory.names import check_collection_name
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord
from rcc_integrations.memory.report import LostCollection, Rebuild
from rcc_integrations.memory.survey import Survey, home_of, recounted

#: How far the revision of a collection is raised whose last one is not known: (uid, revision) names one content for
#: ever.
LEAP: Final = 1_000_000

_NAME = re.compile(r'"name":"((?:[^"\\]|\\.)*)"')


@dataclass
class Mending:
    """One repair of rows.

    Args:
        contents: Memories and texts.
        kept: Rows of the index's backup.
        lost: Where what is taken out is written down.
        findings: What was found.
        grace: Seconds that unused memories are left alone.
        collections: Records for collections that have none, by uid; see `rebuilt`.
        actions: What was done, by the index key or name that `Problem.where` has.
        blobs: Keys of memories whose files nothing needs or can use any more, and why.
        texts: The same for texts.
    """

    contents: Contents
    kept: backup.Rows
    lost: LostAndFound
    findings: Findings
    grace: float
    collections: Mapping[str, CollectionRecord]
    actions: dict[str, str] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def run(self, rows: WriteTransaction) -> None:
        """Repair the rows of a transaction."""
        self._take_back(rows)
        self._restore(rows)
        self._discard(rows)
        self._take_out(rows)
        self._count(rows)

    def _take_back(self, rows: WriteTransaction) -> None:
        """Bring back from the backup what an index lost that is behind it."""
        survey = Survey.of(rows)
        if backup.changes(self.kept) <= survey.changes:
            return
        self.lost.note("The index is behind its backup, which is put over it.", changes=survey.changes)
        for key, value in self.kept.items():
            kind = key.partition(":")[0] + ":"
            if kind in (ledger.NAME, ledger.COLLECTION, ledger.DOCUMENT) or rows_lack(survey, key):
                rows.set(key, value)
        # What the index was changed in since it was put back must not pass for what the backup has.
        rows.set(CHANGES, backup.changes(self.kept) + LEAP)
        self.actions["index"] = "brought back from the backup"

    def _restore(self, rows: WriteTransaction) -> None:
        """Rebuild rows that are damaged or gone from whatever proves them."""
        survey = Survey.of(rows)
        for uid, record in self.collections.items():
            if uid in survey.homeless and uid not in survey.collections:
                documents = [survey.documents[key] for key in survey.homeless[uid]]
                self._out(rows, survey, ledger.COLLECTION + uid, "The record of a collection is rebuilt.")
                ledger.set_collection(rows, recounted(record, documents))
                rows.set(ledger.NAME + record.name, uid)
                self.actions[ledger.COLLECTION + uid] = f"rebuilt as {record.name!r}"
        for key, bad in list(survey.bad.items()):
            value = self.kept.get(key)
            if value is not None and self._agrees(key, value, bad.text):
                self._out(rows, survey, key, bad.reason)
                rows.set(key, value)
                self.actions[key] = "brought back from the backup"
        survey = Survey.of(rows)
        for key in survey.expected_blob_counts():
            value = self.kept.get(ledger.BLOB + key)
            if key not in survey.blobs and value is not None and self._fits(key, value):
                self._out(rows, survey, ledger.BLOB + key, "The row of a memory is brought back from the backup.")
                rows.set(ledger.BLOB + key, value)
                self.actions[ledger.BLOB + key] = "brought back from the backup"
        for key in survey.expected_text_counts():
            if key not in survey.texts and self.contents.texts.is_whole(key):
                self._out(rows, survey, ledger.TEXT + key, "The row of a text is made anew from its file.")
                size = self.contents.texts.folder.size(key) or 0
                ledger.set_row(rows, ledger.TEXT + key, TextRow(size, 0))
                self.actions[str(self.contents.texts.folder.path(key))] = "its row was made anew"

    def _agrees(self, key: str, value: JSON, text: JSON) -> bool:
        """Tell whether a damaged row is the one that the backup has, rather than a later one."""
        kind = key.partition(":")[0] + ":"
        if kind == ledger.DOCUMENT:
            try:
                record = DocumentRecord.from_json(value)
            except StoreError:
                return False
            return record.text_key in str(text) and self.contents.texts.is_whole(record.text_key)
        return kind == ledger.NAME

    def _fits(self, key: str, value: JSON) -> bool:
        """Tell whether a memory's file is what a row of the backup says."""
        try:
            row = BlobRow.from_json(value)
            self.contents.blobs.folder.load(key, size=row.bytes, checksum=row.checksum)
        except (OSError, StoreError):
            return False
        return True

    def _discard(self, rows: WriteTransaction) -> None:
        """Let go of memories and texts whose files are broken; documents go on naming them."""
        for key, (why, before) in self.findings.broken.items():
            row = ledger.blob_row(rows, key)
            if row == before:
                ledger.set_row(rows, ledger.BLOB + key, replace(row, bytes=0, checksum=""))
                self.blobs[key] = why
                self.actions[ledger.BLOB + key] = "taken out"
        for key, why in self.findings.unread.items():
            self.texts[key] = why
            self.actions[ledger.TEXT + key] = "taken out"

    def _take_out(self, rows: WriteTransaction) -> None:
        survey = Survey.of(rows)
        for key, bad in survey.bad.items():
            if key.startswith(ledger.COLLECTION) and key.removeprefix(ledger.COLLECTION) in survey.homeless:
                # It is all there is of what may yet be rebuilt, with the model that made it.
                continue
            self._out(rows, survey, key, bad.reason)
            self.actions.setdefault(key, "taken out")
            for prefix, gone in ((ledger.BLOB, self.blobs), (ledger.TEXT, self.texts)):
                if key.startswith(prefix):
                    gone[key.removeprefix(prefix)] = f"Its row was damaged: {bad.reason}"

    def _count(self, rows: WriteTransaction) -> None:
        survey = Survey.of(rows)
        changed = {home_of(key) for key in self.findings.survey.bad if key.startswith(ledger.DOCUMENT)}
        for uid, expected in survey.expected_collections().items():
            record = survey.collections[uid]
            if expected != record or (uid in changed and uid not in self.collections):
                if expected != record:
                    self.actions[record.name] = "counted anew"
                ledger.set_collection(rows, replace(expected, revision=record.revision + 1))
            if survey.holder(record.name) is None:
                rows.set(ledger.NAME + record.name, uid)
                self.actions.setdefault(record.name, "found by its name again")
        self._recount(rows, survey)
        after = Survey.of(rows)
        if after.usage != after.expected_usage():
            ledger.set_row(rows, ledger.USAGE, after.expected_usage())
            self.actions[ledger.USAGE] = "counted anew"

    def _recount(self, rows: WriteTransaction, survey: Survey) -> None:
        needed, wanted = survey.expected_blob_counts(), survey.expected_text_counts()
        unused = set(survey.unused(self.grace)) | {key for key in self.blobs if not needed[key]}
        for key, row in survey.blobs.items():
            if key in unused:
                self._drop(rows, ledger.BLOB + key, "No document needs this memory.", row.bytes)
                self.blobs.setdefault(key, "No document needs this memory.")
            elif row.count != needed[key]:
                ledger.set_row(rows, ledger.BLOB + key, replace(row, count=needed[key]))
                self.actions.setdefault(ledger.BLOB + key, "counted anew")
        for key, text in survey.texts.items():
            if not wanted[key]:
                self._drop(rows, ledger.TEXT + key, "No document has this text.", text.bytes)
                self.texts.setdefault(key, "No document has this text.")
            elif text.count != wanted[key]:
                ledger.set_row(rows, ledger.TEXT + key, replace(text, count=wanted[key]))
                self.actions.setdefault(ledger.TEXT + key, "counted anew")

    def _drop(self, rows: WriteTransaction, key: str, why: str, size: int) -> None:
        self.lost.note(why, row=key, value=rows.get(key), bytes=size)
        rows.delete(key)
        self.actions[key] = "taken out"

    def _out(self, rows: WriteTransaction, survey: Survey, key: str, why: str) -> None:
        """Remove a damaged row, whatever its key, and write down what stood in it."""
        bad = survey.bad.get(key)
        if bad is None:
            return
        for rowid in bad.rowids:
            self.lost.note(why, **{**rows.take_out(rowid), "row": key})
        if not bad.rowids:
            # The row itself is sound; what it stands for is not there.
            self.lost.note(why, row=key, value=rows.get(key))
            rows.delete(key)


def rows_lack(survey: Survey, key: str) -> bool:
    """Tell whether an index has no sound row of a memory or text."""
    kind, _, rest = key.partition(":")
    return (kind + ":" == ledger.BLOB and rest not in survey.blobs) or (
        kind + ":" == ledger.TEXT and rest not in survey.texts
    )


def rebuilt(survey: Survey, kept: backup.Rows, rebuild: Rebuild | None) -> dict[str, CollectionRecord]:
    """Return records for collections that have none but documents, as far as something proves what they were.

    Args:
        survey: The rows.
        kept: Rows of the index's backup.
        rebuild: Asked for the model where neither memories nor the backup tell.
    """
    found = {}
    for uid, keys in survey.homeless.items():
        record = _rebuilt(survey, uid, [survey.documents[key] for key in keys], kept, rebuild)
        if record is not None:
            found[uid] = record
    return found


def _rebuilt(
    survey: Survey, uid: str, documents: list[DocumentRecord], kept: backup.Rows, rebuild: Rebuild | None
) -> CollectionRecord | None:
    blobs = [survey.blobs[key] for record in documents for key in record.keys if key in survey.blobs]
    makers, storages = {row.fingerprint for row in blobs}, {row.storage for row in blobs}
    maker = makers.pop() if len(makers) == 1 else ""
    bad = survey.bad.get(ledger.COLLECTION + uid)
    raw = _fields(bad.text if bad else None)
    before = _record(kept.get(ledger.COLLECTION + uid))
    storage = storages.pop() if len(storages) == 1 else before.storage if before else str(raw.get("storage", ""))
    name = _name(survey, uid, before, bad.text if bad else None)
    model: dict[str, JSON] | None = None
    if before is not None and maker in ("", before.fingerprint):
        maker, model = before.fingerprint, before.model
    if model is None and maker:
        model = next((other.model for other in survey.collections.values() if other.fingerprint == maker), None)
    if model is None and rebuild is not None:
        told = rebuild(LostCollection(uid, name, tuple(documents), storage))
        if told is not None and maker in ("", told[0]):
            maker, model = told
    if model is None or not maker or not storage:
        return None
    revision = raw.get("revision")
    revisions = [record.order for record in documents] + ([before.revision] if before else [])
    revisions += [revision] if type(revision) is int and 0 <= revision < LEAP**2 else []
    return CollectionRecord(
        uid=uid,
        name=name,
        fingerprint=maker,
        model=model,
        storage=storage,
        revision=max(revisions, default=0) + LEAP,
        documents=0,
        windows=0,
        tokens=0,
        slots=0,
        created=before.created if before else time.time(),
        expiry=before.expiry if before else None,
    )


def _name(survey: Survey, uid: str, before: CollectionRecord | None, text: JSON) -> str:
    """Return what a collection was called: the row of names has a checksum of its own."""
    names = [name for name, other in survey.names.items() if other == uid]
    names += [before.name] if before else []
    with contextlib.suppress(ValueError):
        names += [json.loads(f'"{match[1]}"') for match in _NAME.finditer(str(text or ""))]
    for name in names:
        try:
            if survey.names.get(name, uid) == uid and check_collection_name(name) == name:
                return name
        except RCCError:
            continue
    return f"recovered-{uid[:8]}"


def _fields(text: JSON) -> dict[str, Any]:
    """Return the fields of a damaged record, none where it is no JSON any more."""
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {}


def _record(value: JSON) -> CollectionRecord | None:
    try:
        return None if value is None else CollectionRecord.from_json(value)
    except StoreError:
        return None
