"""Compressing documents again whose memories are broken, from the text that the store kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rcc_integrations.adding import Adder
from rcc_integrations.asking import ratio_of
from rcc_integrations.document import Document
from rcc_integrations.errors import RCCError
from rcc_integrations.memory.report import VerifyReport

if TYPE_CHECKING:
    from rcc_integrations.reader import RCCReader


def repair_documents(reader: RCCReader, report: VerifyReport, grace: float) -> VerifyReport:
    """Compress damaged documents again where text and model are at hand.

    Args:
        reader: The reader.
        report: What `verify` with `repair` found.
        grace: As for `verify`.

    Returns:
        What a further check finds; it names the documents that are still damaged.
    """
    reader.store.discard_blobs(report.broken_blobs)
    for damaged in report.damaged:
        if not damaged.text_intact:
            continue
        record = reader.store.collection(damaged.collection)
        ratio = ratio_of(record)
        if reader.model.fingerprint(ratio) != record.fingerprint:
            continue
        old = reader.store.document(damaged.collection, damaged.document)
        text = reader.store.text(old.text_key)
        adder = Adder(reader.store, lambda: reader.model, record, ratio)
        try:
            # Another digest than the stored one, so that the document counts as changed; then the old one again.
            adder.add([Document(old.id, text, digest=f"repair:{old.digest}", metadata=old.metadata)], skip=False)
            reader.store.update_document(damaged.collection, old.id, digest=old.digest)
        except RCCError:
            continue
    return reader.store.verify(repair=True, grace=grace)
