"""Compressing documents again whose memories are broken, from the text that the store kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rcc_integrations.document import Document
from rcc_integrations.errors import RCCError
from rcc_integrations.memory.report import DamagedDocument, Problem, VerifyReport
from rcc_integrations.reader.compatibility import check_fingerprint, ratio_of
from rcc_integrations.reader.ingest import Ingester

if TYPE_CHECKING:
    from rcc_integrations.memory.store import MemoryStore
    from rcc_integrations.model.rcc_model import RCCModel


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
    store.discard_blobs(report.broken_blobs)
    for damaged in report.damaged:
        if not damaged.text_intact:
            continue
        try:
            _compress_again(store, model, damaged)
        except RCCError:
            continue
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
    problems = [problem for problem in report.problems if problem.repaired] + mended
    return replace(
        after,
        problems=(*problems, *(problem for problem in after.problems if problem not in problems)),
        damaged=(*after.damaged, *(one for one in gone if not one.text_intact)),
    )


def _compress_again(store: MemoryStore, model: RCCModel, damaged: DamagedDocument) -> None:
    record = store.collection(damaged.collection)
    check_fingerprint(record, model)
    old = store.document(damaged.collection, damaged.document)
    text = store.text(old.text_key)
    ingester = Ingester(store, lambda: model, record, ratio_of(record))
    # Another digest than the stored one, so that the document counts as changed; then the old one again.
    ingester.add([Document(old.id, text, digest=f"repair:{old.digest}", metadata=old.metadata)], skip=False)
    store.update_document(damaged.collection, old.id, digest=old.digest)
