"""Looks at everything in a store and says what is wrong with it; changes nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rcc_integrations.errors import CorruptBlobError, StoreAccessError
from rcc_integrations.memory import backup, ledger
from rcc_integrations.memory.contents import Contents
from rcc_integrations.memory.index import Index
from rcc_integrations.memory.ledger import BlobRow
from rcc_integrations.memory.os_errors import access_error
from rcc_integrations.memory.report import DamagedDocument, Problem
from rcc_integrations.memory.shards import TEMP_PREFIX, ShardFolder
from rcc_integrations.memory.survey import Survey, home_of


@dataclass(frozen=True, slots=True)
class Stray:
    """A file of a memory or text that has no row.

    Args:
        folder: The folder of its kind.
        prefix: What the keys of its kind's rows begin with.
        key: Its key.
        path: Where it is.
    """

    folder: ShardFolder
    prefix: str
    key: str
    path: Path


@dataclass
class Findings:
    """What was found.

    Args:
        survey: The rows.
        integrity: What SQLite's own check finds wrong.
        broken: What is wrong with memories' files, by key, and the row that was looked at.
        unread: What is wrong with texts' files, by key.
        unreadable: What could not be looked at, and so may be sound.
        strays: Files without rows.
        leftovers: Temporary files of interrupted writes.
        damaged: Documents that lack something.
        problems: Everything, told.
        lacking: Keys of memories that documents lack.
    """

    survey: Survey
    integrity: list[str]
    broken: dict[str, tuple[str, BlobRow]] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    unreadable: list[Problem] = field(default_factory=list)
    strays: list[Stray] = field(default_factory=list)
    leftovers: list[Path] = field(default_factory=list)
    damaged: list[DamagedDocument] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)


def examine(index: Index, contents: Contents, kept: backup.Rows, grace: float) -> Findings:
    """Look at all rows and files.

    Args:
        index: The index.
        contents: Memories and texts.
        kept: Rows of the index's backup.
        grace: Seconds that unused memories and temporary files are left alone.
    """
    with index.read() as rows:
        findings = Findings(Survey.of(rows), rows.check())
    survey = findings.survey
    _look_at_files(index, contents, findings)
    _look_at_folders(index, contents, findings, grace)
    problems = findings.problems
    problems += [Problem("index", f"SQLite finds: {text}.", str(index.folder)) for text in findings.integrity]
    problems += _behind(survey, kept, findings)
    problems += survey.problems(grace)
    problems += [Problem("blob-damaged", why, ledger.BLOB + key) for key, (why, _) in findings.broken.items()]
    problems += [Problem("text-damaged", why, ledger.TEXT + key) for key, why in findings.unread.items()]
    problems += findings.unreadable
    _judge_documents(findings, contents)
    for stray in findings.strays:
        what = f"{stray.path} is not in the index: a write or a removal was interrupted, or its row is lost."
        problems.append(Problem("file-without-row", what, str(stray.path)))
    for path in findings.leftovers:
        problems.append(Problem("leftover", f"{path} was left by an interrupted write.", str(path)))
    return findings


def _look_at_files(index: Index, contents: Contents, findings: Findings) -> None:
    for key in findings.survey.blobs:
        try:
            fault = _blob_fault(index, contents, key)
        except StoreAccessError as error:
            findings.unreadable.append(Problem("unreadable", str(error), ledger.BLOB + key))
            continue
        if fault is not None:
            findings.broken[key] = fault
    for key in findings.survey.texts:
        try:
            reason = text_fault(index, contents, key)
        except StoreAccessError as error:
            findings.unreadable.append(Problem("unreadable", str(error), ledger.TEXT + key))
            continue
        if reason is not None:
            findings.unread[key] = reason


def _blob_fault(index: Index, contents: Contents, key: str) -> tuple[str, BlobRow] | None:
    """Return what is wrong with a blob's file; None also if the blob went meanwhile."""
    with index.read() as rows:
        row = ledger.blob_row(rows, key)
    while row is not None:
        try:
            contents.blobs.folder.load(key, size=row.bytes, checksum=row.checksum)
            return None
        except FileNotFoundError:
            reason = f"Memory blob {key[:12]}… has no file."
        except CorruptBlobError as error:
            reason = str(error)
        with index.read() as rows:
            again = ledger.blob_row(rows, key)
        if again == row:
            return reason, row
        row = again
    return None


def text_fault(index: Index, contents: Contents, key: str) -> str | None:
    """Return what is wrong with a text's file; None also if the text went meanwhile."""
    try:
        contents.texts.folder.load(key)
        return None
    except FileNotFoundError:
        reason = f"Text {key[:12]}… has no file."
    except CorruptBlobError as error:
        reason = str(error)
    with index.read() as rows:
        return None if ledger.text_row(rows, key) is None else reason


def _look_at_folders(index: Index, contents: Contents, findings: Findings, grace: float) -> None:
    survey = findings.survey

    def blocked(folder: Path, error: OSError) -> None:
        findings.unreadable.append(Problem("unreadable", str(access_error(error, folder)), str(folder)))

    root = index.folder.parent
    for folder in (root, index.folder, root / backup.FOLDER):
        findings.leftovers += [path for path in _temporary(folder, blocked) if _is_old(path, grace)]
    for store, prefix, known in (
        (contents.blobs.folder, ledger.BLOB, survey.blobs.keys()),
        (contents.texts.folder, ledger.TEXT, survey.texts.keys()),
    ):
        for path, key in store.files(blocked):
            if key is not None:
                # A row that cannot be read is told of as such; what it stands for is not known.
                if not (key in known or prefix + key in survey.bad or prefix + key in survey.foreign):
                    findings.strays.append(Stray(store, prefix, key, path))
            elif path.name.startswith(TEMP_PREFIX):
                if _is_old(path, grace):
                    findings.leftovers.append(path)
            elif not _known_place(path, store, known):
                what = f"{path} is not a file of this store; it is never read. Remove it by hand."
                findings.problems.append(Problem("foreign", what, str(path)))
    if findings.strays:
        # Look again with the lock that writers hold while they place a file and its row.
        with index.read() if index.read_only else index.write() as rows:
            findings.strays = [
                stray
                for stray in findings.strays
                if rows.get(stray.prefix + stray.key) is None and stray.folder.size(stray.key) is not None
            ]


def _known_place(path: Path, folder: ShardFolder, known: object) -> bool:
    """Tell whether something that is no file stands in the place of one: it is told of as a damaged memory or text."""
    return path.name.removesuffix(folder.suffix) in known and path.name.endswith(folder.suffix)  # type: ignore[operator]


def _temporary(folder: Path, blocked: object) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            yield from [Path(entry.path) for entry in entries if entry.name.startswith(TEMP_PREFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        blocked(folder, error)  # type: ignore[operator]


def _is_old(path: Path, grace: float) -> bool:
    try:
        return grace <= 0 or time.time() - os.lstat(path).st_mtime >= grace
    except FileNotFoundError:
        return False


def _judge_documents(findings: Findings, contents: Contents) -> None:
    survey = findings.survey
    # A text proves itself: where its row alone is lost, nothing is.
    rowless = {
        stray.key for stray in findings.strays if stray.prefix == ledger.TEXT and contents.texts.is_whole(stray.key)
    }
    findings.damaged += survey.lost_documents()
    unseen = {problem.where for problem in findings.unreadable}
    for place, record in survey.documents.items():
        home = survey.collection_name(home_of(place))
        gone = {key for key in record.keys if key in findings.broken or key not in survey.blobs}
        foreign = survey.foreign_windows(place)
        text = record.text_key not in findings.unread and (
            record.text_key in survey.texts or ledger.TEXT + record.text_key in unseen or record.text_key in rowless
        )
        if foreign:
            what = (
                f"{len(foreign)} memories of document {record.id!r} were made by another model than the collection's."
            )
            findings.problems.append(Problem("foreign-memory", what, f"{home}/{record.id}"))
        findings.lacking |= gone | foreign
        if gone or foreign or not text:
            item = DamagedDocument(home, record.id, text)
            findings.damaged.append(item)
            findings.problems.append(_damage(item, len(gone | foreign)))


def _damage(item: DamagedDocument, lacking: int) -> Problem:
    what = [f"{lacking} of its memories are gone, damaged or another model's"] if lacking else []
    what += [] if item.text_intact else ["its text is gone or damaged"]
    advice = "It can be compressed again from its text." if item.text_intact else "Add it again."
    return Problem(
        "document-damaged",
        f"Document {item.document!r} of collection {item.collection!r}: {' and '.join(what)}. {advice}",
        f"{item.collection}/{item.document}",
    )


def _behind(survey: Survey, kept: backup.Rows, findings: Findings) -> Iterator[Problem]:
    """Tell whether the index has lost changes that it once had."""
    where = "index"
    if backup.changes(kept) > survey.changes:
        names = [
            key.split(":", 2)[-1] for key in kept if key.startswith(ledger.DOCUMENT) and key not in survey.documents
        ]
        lost = f" It lacks {len(names)} documents: {', '.join(map(repr, names[:20]))}." if names else ""
        yield Problem(
            "index-behind",
            f"The index has seen {survey.changes} changes and its backup {backup.changes(kept)}: it was put back to an "
            f"earlier state, or its log is gone.{lost}",
            where,
        )
    elif not survey.documents and not survey.collections and any(one.prefix == ledger.TEXT for one in findings.strays):
        yield Problem(
            "index-behind",
            f"The index knows no document, but {len(findings.strays)} memories and texts are there: it lost what was "
            "added, and there is no backup. Restore the folder 'index' from a copy, or add the documents again.",
            where,
        )
