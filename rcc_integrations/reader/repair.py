"""Repairing what takes a model: documents whose memories are broken, collections whose record is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rcc_integrations.document import Document
from rcc_integrations.errors import RCCError
from rcc_integrations.memory.records import STORAGES, DocumentRecord
from rcc_integrations.memory.report import DamagedDocument, LostCollection, Problem, Rebuild, VerifyReport
from rcc_integrations.reader.compatibility import check_fingerprint, ratio_of
from rcc_integrations.reader.ingest import Ingester

if TYPE_CHECKING:
    from rcc_integrations.memory.store import MemoryStore
    from rcc_integrations.model.rcc_model import RCCModel


def verify_store(
    store: MemoryStore, load: Callable[[], RCCModel], *, repair: bool, grace: float, dry_run: bool
) -> VerifyReport:
    """Check a store; repair what takes a model too.

    Args:
        store: The store.
        load: Returns the model at hand; asked only where it is needed.
        repair: See `RCCReader.verify`.
        grace: See `RCCReader.verify`.
        dry_run: See `RCCReader.verify`.
    """
    failures: list[str] = []

    def model() -> RCCModel | None:
        try:
            return load()
        except RCCError as error:
            failures.append(str(error))
            return None

    report = store.verify(repair=repair, grace=grace, dry_run=dry_run, rebuild=_prover(store, model))
    if repair and not dry_run and any(one.text_intact for one in report.damaged):
        found = model()
        if found is not None:
            report = repair_documents(store, found, report, grace)
    return replace(report, failure=failures[0] if failures else report.failure)


def _prover(store: MemoryStore, load: Callable[[], RCCModel | None]) -> Rebuild:
    """Return what tells whether the model at hand made a collection: the keys of its memories prove it."""

    def prove(lost: LostCollection) -> tuple[str, dict[str, Any]] | None:
        model = load()
        if model is None:
            return None
        for document in lost.documents:
            try:
                text = store.text(document.text_key)
            except RCCError:
                continue
            found = _maker(model, document, text, [lost.storage] if lost.storage else list(STORAGES))
            if found is not None:
                return found
        return None

    return prove


def _maker(
    model: RCCModel, document: DocumentRecord, text: str, storages: list[str]
) -> tuple[str, dict[str, Any]] | None:
    from rcc_integrations.model.fingerprint import blob_key

    windows = model.cut(text)
    longest = max(document.windows, key=lambda window: window.tokens)
    for ratio in range(1, model.config.window + 1):
        try:
            if model.slots(longest.tokens, ratio) != longest.slots:
                continue
            fingerprint = model.fingerprint(ratio)
        except RCCError:
            continue
        for storage in storages:
            if any(blob_key(fingerprint, storage, window.ids) in document.keys for window in windows):
                return fingerprint, model.describe(ratio)
    return None


def repair_documents(store: MemoryStore, model: RCCModel, report: VerifyReport, grace: float) -> VerifyReport:
    """Compress damaged documents again where text and model are at hand.

    Args:
        store: The store.
        model: The model at hand; documents of another one stay as they are.
        report: What `verify` with `repair` found.
        grace: As for `verify`.

    Returns:
        What was found and what a further check finds, as one; it names the documents that are still damaged, and those
        that are lost.
    """
    failures = []
    for damaged in report.damaged:
        if not damaged.text_intact:
            continue
        try:
            _compress_again(store, model, damaged)
        except RCCError as error:
            failures.append(f"{damaged.collection}/{damaged.document}: {error}")
    after = store.verify(repair=True, grace=grace)
    still = {(one.collection, one.document) for one in after.damaged}
    gone = [one for one in report.damaged if (one.collection, one.document) not in still]
    mended = [
        Problem(
            "document-damaged",
            f"Document {one.document!r} of collection {one.collection!r} was compressed again from its text.",
            f"{one.collection}/{one.document}",
            True,
        )
        for one in gone
        if one.text_intact
    ]
    told = {(problem.kind, problem.where) for problem in mended}
    left = {(problem.kind, problem.where) for problem in after.problems}
    before = [
        replace(problem, repaired=problem.repaired or (problem.kind, problem.where) not in left)
        for problem in report.problems
        if (problem.kind, problem.where) not in told
    ]
    known = {(problem.kind, problem.where) for problem in before}
    new = [problem for problem in after.problems if (problem.kind, problem.where) not in known]
    return replace(
        after,
        problems=(*before, *mended, *new),
        damaged=(*after.damaged, *(one for one in gone if not one.text_intact)),
        failure="; ".join(failures[:3]),
    )


def _compress_again(store: MemoryStore, model: RCCModel, damaged: DamagedDocument) -> None:
    record = store.collection(damaged.collection)
    check_fingerprint(record, model)
    old = store.document(damaged.collection, damaged.document)
    text = store.text(old.text_key)
    ingester = Ingester(store, lambda: model, record, ratio_of(record), again=True)
    ingester.add([Document(old.id, text, digest=old.digest, metadata=old.metadata)], skip=False)
