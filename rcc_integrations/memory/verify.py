"""Checks a whole store, and repairs what can be repaired, while others go on using it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rcc_integrations.errors import StoreFormatError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.backup import Backup
from rcc_integrations.memory.contents import Contents
from rcc_integrations.memory.examine import Findings, examine, text_fault
from rcc_integrations.memory.index import Index, WriteTransaction
from rcc_integrations.memory.lost_found import LostAndFound
from rcc_integrations.memory.mending import Mending, rebuilt
from rcc_integrations.memory.report import DamagedDocument, Problem, Rebuild, VerifyReport


def verify(
    index: Index,
    contents: Contents,
    backup: Backup,
    *,
    repair: bool = False,
    grace: float = 3600.0,
    dry_run: bool = False,
    rebuild: Rebuild | None = None,
) -> VerifyReport:
    """Check a store; see `MemoryStore.verify`."""
    if not repair:
        return _report(examine(index, contents, backup.rows(), grace))
    contents.check_writable()
    lost = LostAndFound(index.folder.parent, dry_run=dry_run)
    mended = _mend_bits(index, lost)
    kept = backup.rows()
    before = examine(index, contents, kept, grace)
    if dry_run:
        # The rows themselves stay as they are: what was mended is told, and not as damaged too.
        keys = {problem.where for problem in mended}
        before.problems = [problem for problem in before.problems if problem.where not in keys]
    before.problems[:0] = mended
    if before.integrity or before.unreadable:
        return _report(before)
    if not before.problems:
        return _report(before)
    mending = Mending(contents, kept, lost, before, grace, rebuilt(before.survey, kept, rebuild))
    _in_transaction(index, mending.run, dry_run)
    actions = mending.actions | _move(index, contents, mending, dry_run)
    if dry_run:
        return _report(before, actions)
    after = examine(index, contents, backup.rows(), grace)
    return _joined(before, after, actions)


def _mend_bits(index: Index, lost: LostAndFound) -> list[Problem]:
    """Put right rows of which one bit changed; build the index's file anew where SQLite finds it damaged."""
    from rcc_integrations.memory.recovery import rebuild_index

    mended: list[Problem] = []

    def work(rows: WriteTransaction) -> bool:
        for item in rows.mend():
            lost.note("A bit of this row had changed; its checksum told which.", row=item.key, **item.before)
            what = "A bit of this row had changed; its checksum told which."
            mended.append(Problem("record", what, item.key, not lost.dry_run, "put right"))
        return bool(rows.check())

    try:
        broken = _in_transaction(index, work, lost.dry_run)
    except StoreFormatError:
        broken = True
    if not broken:
        return mended
    index.close()
    try:
        return rebuild_index(index.folder, lost)
    finally:
        index.reopen()


class _RollBackError(Exception):
    """Ends a transaction that is to change nothing."""


def _in_transaction(index: Index, work: Callable[[WriteTransaction], bool | None], dry_run: bool) -> bool:
    found: bool | None = None
    try:
        with index.write() as rows:
            found = work(rows)
            if dry_run:
                raise _RollBackError
    except _RollBackError:
        pass
    return bool(found)


def _move(index: Index, contents: Contents, mending: Mending, dry_run: bool) -> dict[str, str]:
    """Move the files that rows do not stand for any more, looking again under the lock that writers hold."""
    lost, findings, actions = mending.lost, mending.findings, {}
    moved = f"moved to {lost.folder.relative_to(index.folder.parent)}"
    restored = set(mending.actions)

    def take(path: Path, why: str, where: str) -> None:
        lost.take(path, why)
        actions[where] = moved

    with index.read() if dry_run else index.write() as rows:
        for key, why in mending.blobs.items():
            row = None if dry_run else ledger.blob_row(rows, key)
            if row is None or not row.bytes:
                take(contents.blobs.folder.path(key), why, ledger.BLOB + key)
        for key, why in mending.texts.items():
            if dry_run or ledger.text_row(rows, key) is None or text_fault(index, contents, key):
                take(contents.texts.folder.path(key), why, ledger.TEXT + key)
        for stray in findings.strays:
            if str(stray.path) not in restored and rows.get(stray.prefix + stray.key) is None:
                take(stray.path, "It is not in the index.", str(stray.path))
        for path in findings.leftovers:
            take(path, "It was left by an interrupted write.", str(path))
    return actions


def _joined(before: Findings, after: Findings, actions: dict[str, str]) -> VerifyReport:
    """Return what was found, and what of it is put right: what is not found any more."""
    left = {(problem.kind, problem.where) for problem in after.problems}
    problems = [
        replace(
            problem,
            repaired=problem.repaired or (problem.kind, problem.where) not in left,
            action=problem.action or actions.get(problem.where, ""),
        )
        for problem in before.problems
    ]
    told = {(problem.kind, problem.where) for problem in problems}
    problems += [problem for problem in after.problems if (problem.kind, problem.where) not in told]
    lost = before.survey.lost_documents()
    there = {
        (after.survey.collection_name(key.split(":", 2)[1]), one.id) for key, one in after.survey.documents.items()
    }
    gone = [item for item in lost if (item.collection, item.document) not in there]
    problems += _uncounted(before, after, gone)
    report = _report(after)
    return replace(report, problems=tuple(problems), damaged=tuple(dict.fromkeys([*after.damaged, *gone])))


def _uncounted(before: Findings, after: Findings, named: list[DamagedDocument]) -> list[Problem]:
    """Tell of documents that a collection counted and that are gone without a name."""
    problems = []
    for uid, record in before.survey.collections.items():
        now = after.survey.collections.get(uid)
        left = now.documents if now else 0
        missing = record.documents - left - sum(item.collection == record.name for item in named)
        if missing > 0:
            what = (
                f"Collection {record.name!r} counted {record.documents} documents and has {left}: {missing} are lost "
                "with their records. Add the documents again; what is left of them is in lost+found."
            )
            problems.append(Problem("document-lost", what, record.name))
    return problems


def _report(findings: Findings, actions: dict[str, str] | None = None) -> VerifyReport:
    survey = findings.survey
    problems = [replace(one, action=one.action or (actions or {}).get(one.where, "")) for one in findings.problems]
    return VerifyReport(
        problems=tuple(problems),
        damaged=tuple(dict.fromkeys(findings.damaged)),
        broken_blobs=tuple(sorted(findings.broken.keys() | findings.lacking)),
        collections=len(survey.collections),
        documents=len(survey.documents),
        blobs=len(survey.blobs),
        texts=len(survey.texts),
    )
