"""Checks a whole store, and repairs what can be repaired, while others go on using it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.contents import Contents
from rcc_integrations.memory.index import Index, WriteTransaction
from rcc_integrations.memory.names import is_key
from rcc_integrations.memory.report import DamagedDocument, Problem, VerifyReport
from rcc_integrations.memory.shards import TEMP_PREFIX, ShardFolder, remove_file
from rcc_integrations.memory.survey import Survey, home_of

# What a repair puts right; the rest needs a person, or the documents once more.
_REPAIRABLE = {
    "record",
    "collection",
    "counters",
    "reference-count",
    "usage",
    "unreferenced",
    "file-without-row",
    "leftover",
    "blob-damaged",
    "text-damaged",
}


def verify(index: Index, contents: Contents, *, repair: bool = False, grace: float = 3600.0) -> VerifyReport:
    """Check a store; see `MemoryStore.verify`."""
    if repair:
        contents.check_writable()
    problems = _mended(index) if repair else []
    with index.read() as rows:
        problems += [Problem("index", f"SQLite finds: {text}.", str(index.folder)) for text in rows.check()]
        survey = Survey.of(rows)
    problems += survey.problems(grace)
    broken = {key: reason for key in survey.blobs if (reason := _blob_fault(index, contents, key))}
    unread = {key: reason for key in survey.texts if (reason := _text_fault(index, contents, key))}
    problems += [Problem("blob-damaged", reason, ledger.BLOB + key) for key, reason in broken.items()]
    problems += [Problem("text-damaged", reason, ledger.TEXT + key) for key, reason in unread.items()]
    damaged = survey.lost_documents()
    for place, record in survey.documents.items():
        lacking = {key for key in record.keys if key in broken or key not in survey.blobs}
        text_intact = record.text_key not in unread and record.text_key in survey.texts
        if lacking or not text_intact:
            broken.update({key: "missing" for key in lacking if key not in broken})
            item = DamagedDocument(survey.collection_name(home_of(place)), record.id, text_intact)
            damaged.append(item)
            problems.append(_damage(item, len(lacking)))
    problems += _stray_files(index, contents, survey, repair=repair, grace=grace)
    if repair:
        _repair(index, contents, broken, unread, grace)
        problems = [replace(item, repaired=item.kind in _REPAIRABLE or item.repaired) for item in problems]
    return VerifyReport(
        problems=tuple(problems),
        damaged=tuple(damaged),
        broken_blobs=tuple(sorted(broken)),
        collections=len(survey.collections),
        documents=len(survey.documents),
        blobs=len(survey.blobs),
        texts=len(survey.texts),
    )


def _mended(index: Index) -> list[Problem]:
    with index.write() as rows:
        keys = rows.mend()
    return [Problem("record", "A bit of this row had changed; its checksum told which.", key, True) for key in keys]


def _damage(item: DamagedDocument, lacking: int) -> Problem:
    what = [f"{lacking} of its memories are gone or damaged"] if lacking else []
    what += [] if item.text_intact else ["its text is gone or damaged"]
    return Problem(
        "document-damaged",
        f"Document {item.document!r} of collection {item.collection!r}: {' and '.join(what)}. Add it again.",
        f"{item.collection}/{item.document}",
    )


def _blob_fault(index: Index, contents: Contents, key: str) -> str | None:
    """Return what is wrong with a blob's file; None also if the blob went meanwhile, or nobody needs what is gone."""
    with index.read() as rows:
        row = ledger.blob_row(rows, key)
    while row is not None:
        try:
            contents.blobs.load(key, size=row.bytes, checksum=row.checksum)
            return None
        except FileNotFoundError:
            reason = f"Memory blob {key[:12]}… has no file."
        except CorruptBlobError as error:
            reason = str(error)
        with index.read() as rows:
            again = ledger.blob_row(rows, key)
        if again == row:
            return reason
        row = again
    return None


def _text_fault(index: Index, contents: Contents, key: str) -> str | None:
    """Return what is wrong with a text's file; None also if the text went meanwhile."""
    try:
        contents.texts.load(key)
        return None
    except FileNotFoundError:
        reason = f"Text {key[:12]}… has no file."
    except CorruptBlobError as error:
        reason = str(error)
    with index.read() as rows:
        return None if ledger.text_row(rows, key) is None else reason


def _stray_files(index: Index, contents: Contents, survey: Survey, *, repair: bool, grace: float) -> list[Problem]:
    problems = []
    suspects: list[tuple[ShardFolder, str, str, Path]] = []
    for path in _entries(index.folder.parent):
        if path.name.startswith(TEMP_PREFIX):
            problems += _leftover(path, repair, grace)
    for folder, prefix, known in (
        (contents.blobs, ledger.BLOB, survey.blobs.keys()),
        (contents.texts, ledger.TEXT, survey.texts.keys()),
    ):
        for path, key in folder.files():
            if key is not None:
                # A row that cannot be read is told of as such; what it stands for is not known.
                if not (key in known or prefix + key in survey.bad or prefix + key in survey.foreign):
                    suspects.append((folder, prefix, key, path))
            elif path.name.startswith(TEMP_PREFIX):
                problems += _leftover(path, repair, grace)
            else:
                what = f"{path} is not a file of this store; it is never read. Remove it by hand."
                problems.append(Problem("foreign", what, str(path)))
    return problems + _without_row(index, suspects, repair=repair)


def _without_row(index: Index, suspects: list[tuple[ShardFolder, str, str, Path]], *, repair: bool) -> list[Problem]:
    """Look again at files without rows: with the lock that writers hold while they place a file and its row."""
    problems: list[Problem] = []
    if not suspects:
        return problems
    with index.read() if index.read_only else index.write() as rows:
        for folder, prefix, key, path in suspects:
            if rows.get(prefix + key) is None and folder.size(key) is not None:
                if repair:
                    folder.remove(key)
                what = f"{path} is not in the index: a write or a removal was interrupted."
                problems.append(Problem("file-without-row", what, str(path), repair))
    return problems


def _leftover(path: Path, repair: bool, grace: float) -> list[Problem]:
    try:
        age = time.time() - os.lstat(path).st_mtime
    except FileNotFoundError:
        return []
    if grace > 0 and age < grace:
        return []
    if repair:
        remove_file(path)
    return [Problem("leftover", f"{path} was left by an interrupted write.", str(path), repair)]


def _repair(index: Index, contents: Contents, broken: Iterable[str], unread: Iterable[str], grace: float) -> None:
    with index.read() as before:
        sound = Survey.of(before).blobs.keys()
    contents.discard_blobs(key for key in broken if key in sound)
    with index.write() as rows:
        survey = Survey.of(rows)
        changed = {home_of(key) for key in survey.bad if key.startswith(ledger.DOCUMENT)}
        for key in survey.bad:
            rows.delete(key)
        expectations = survey.expected_collections()
        for uid, record in survey.collections.items():
            expected = expectations[uid]
            if expected != record or uid in changed:
                ledger.set_collection(rows, replace(expected, revision=record.revision + 1))
            if survey.holder(record.name) is None:
                rows.set(ledger.NAME + record.name, uid)
        blobs, texts = _recount(rows, survey, grace)
        after = Survey.of(rows)
        ledger.set_row(rows, ledger.USAGE, after.expected_usage())
    blobs += _keys_of(survey.bad, ledger.BLOB)
    texts += _keys_of(survey.bad, ledger.TEXT)
    contents.sweep(blobs, texts)
    with index.write():
        for key in unread:
            if _text_fault(index, contents, key):
                contents.texts.remove(key)


def _recount(rows: WriteTransaction, survey: Survey, grace: float) -> tuple[list[str], list[str]]:
    """Set all counts right; return the keys of blobs and texts whose rows were removed."""
    needed, wanted = survey.expected_blob_counts(), survey.expected_text_counts()
    blobs = survey.unused(grace)
    texts = [key for key in survey.texts if not wanted[key]]
    for key in blobs:
        rows.delete(ledger.BLOB + key)
    for key in texts:
        rows.delete(ledger.TEXT + key)
    for key, row in survey.blobs.items():
        if row.count != needed[key] and key not in blobs:
            ledger.set_row(rows, ledger.BLOB + key, replace(row, count=needed[key]))
    for key, text in survey.texts.items():
        if text.count != wanted[key] and wanted[key]:
            ledger.set_row(rows, ledger.TEXT + key, replace(text, count=wanted[key]))
    return blobs, texts


def _keys_of(rows: Iterable[str], prefix: str) -> list[str]:
    """Return the blob or text keys among index keys."""
    keys = [row.removeprefix(prefix) for row in rows if row.startswith(prefix)]
    return [key for key in keys if is_key(key)]


def _entries(folder: Path) -> list[Path]:
    return [Path(entry.path) for entry in os.scandir(folder)]
