"""Whether a collection's memories and a model belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rcc_integrations.errors import FingerprintMismatchError, StoreFormatError
from rcc_integrations.memory.records import CollectionRecord

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel


def check_fingerprint(record: CollectionRecord, model: RCCModel) -> None:
    """Refuse memories that another model made.

    Raises:
        FingerprintMismatchError: Both fingerprints are named.
    """
    ratio = ratio_of(record)
    mine = model.fingerprint(ratio)
    if mine != record.fingerprint:
        raise FingerprintMismatchError(
            f"Collection {record.name!r} was made by another model: fingerprint {record.fingerprint} "
            f"({record.model}), and the model at hand has {mine} ({model.describe(ratio)}). Open the store "
            "with the model that made it, or add the documents to a new collection."
        )


def ratio_of(record: CollectionRecord) -> int:
    """Return the ratio that a collection was made at.

    Raises:
        StoreFormatError: Its record does not say.
    """
    ratio = record.model.get("ratio")
    if type(ratio) is not int or ratio < 1:
        raise StoreFormatError(f"Collection {record.name!r} does not say at which ratio it was made: {record.model}.")
    return ratio
