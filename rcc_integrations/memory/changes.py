"""What a change makes of records: checked windows, equal content, new counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rcc_integrations.errors import ConfigError, CorruptBlobError, EmptyDocumentError, FingerprintMismatchError
from rcc_integrations.memory.json_value import JSON, dumps
from rcc_integrations.memory.names import check_key
from rcc_integrations.memory.records import CollectionRecord, DocumentRecord, WindowRecord


def checked_windows(windows: Sequence[WindowRecord], document: str, characters: int) -> tuple[WindowRecord, ...]:
    """Return a document's windows as a tuple, if they can be windows of a text of so many characters.

    Raises:
        EmptyDocumentError: There is none.
        ConfigError: One lies outside the text, or has negative counts.
        InvalidNameError: One has a key that is none.
    """
    if not windows:
        raise EmptyDocumentError(f"Document {document!r} has no window: there is nothing to remember.")
    for window in windows:
        check_key(window.key)
        if not 0 <= window.start <= window.end <= characters:
            raise ConfigError(
                f"A window of document {document!r} spans characters {window.start} to {window.end} of {characters}."
            )
        if window.tokens < 0 or window.slots < 0:
            raise ConfigError(f"A window of document {document!r} has {window.tokens} tokens and {window.slots} slots.")
    return tuple(windows)


def same_content(old: DocumentRecord, new: DocumentRecord) -> bool:
    """Tell whether two records have the same content: all but the time."""
    return dumps(replace(old, added=0.0).to_json()) == dumps(replace(new, added=0.0).to_json())


def counted(
    record: CollectionRecord, added: Sequence[DocumentRecord], removed: Sequence[DocumentRecord]
) -> CollectionRecord:
    """Return a collection's record after documents came and went.

    Raises:
        CorruptBlobError: More would go than it counts.
    """

    def change(size: Callable[[DocumentRecord], int]) -> int:
        return sum(map(size, added)) - sum(map(size, removed))

    after = replace(
        record,
        revision=record.revision + 1,
        documents=record.documents + len(added) - len(removed),
        windows=record.windows + change(lambda document: len(document.windows)),
        tokens=record.tokens + change(lambda document: document.tokens),
        slots=record.slots + change(lambda document: document.slots),
    )
    if min(after.documents, after.windows, after.tokens, after.slots) < 0:
        raise CorruptBlobError(
            f"Collection {record.name!r} counts fewer documents, windows, tokens or slots than are about to go. Run "
            "`rcc verify --repair`."
        )
    return after


def matching(record: CollectionRecord, fingerprint: str, model: dict[str, JSON], storage: str) -> CollectionRecord:
    """Return an existing collection if it fits the model at hand.

    Raises:
        FingerprintMismatchError: It holds memories of another model.
        ConfigError: It has another storage.
    """
    if record.fingerprint != fingerprint:
        raise FingerprintMismatchError(
            f"Collection {record.name!r} holds memories of another model: it has fingerprint {record.fingerprint!r} "
            f"({dumps(record.model)}), and the model at hand {fingerprint!r} ({dumps(model)}). Use that model, or "
            "another collection."
        )
    if record.storage != storage:
        raise ConfigError(
            f"Collection {record.name!r} stores memories as {record.storage}, not {storage}: keep that, or use another "
            "collection."
        )
    return record
