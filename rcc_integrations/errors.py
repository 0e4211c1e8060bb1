"""All errors that the package raises on purpose.

Each message says what is wrong, with what value, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class RCCError(Exception):
    """Base class of all errors of this package."""


class ConfigError(RCCError, ValueError):
    """A setting, an option or an argument has an invalid value."""


class UnknownArgumentError(ConfigError, TypeError):
    """An argument that there is not.

    Args:
        where: What was called.
        name: The argument.
        known: Those that there are.
    """

    def __init__(self, where: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        hint = f" Did you mean {near[0]!r}?" if near else f" It takes: {', '.join(names) or 'none'}."
        super().__init__(f"{where} takes no {name!r}.{hint}")


class ModelError(RCCError):
    """A model, a checkpoint or an adapter cannot be used."""


class ModelNotFoundError(ModelError):
    """Required weights are not on this machine."""


class GenerationError(RCCError):
    """Generating an answer failed; the cause is chained."""


class DataError(RCCError, ValueError):
    """Training or evaluation data cannot be used."""


class TrainingError(RCCError):
    """Training cannot continue; the last saved state is kept."""


class BudgetError(RCCError, ValueError):
    """A question, with what must accompany it, does not fit the decoder's positions."""


class StoreError(RCCError):
    """Base class of all errors of the store."""


class StoreFormatError(StoreError):
    """The folder is not a store, or its format is not supported by this version."""


class StoreFullError(StoreError):
    """The size limit is reached or the disk is full; nothing half-written is visible."""


class StoreReadOnlyError(StoreError):
    """A write to a store that is read-only, or that was opened read-only."""


class StoreAccessError(StoreError):
    """A part of the store cannot be read now: permissions, open files, the disk. It says nothing of the content."""


class CorruptBlobError(StoreError):
    """A stored memory, text or record is damaged."""


class BlobsMissingError(StoreError):
    """Memories that a document needs are not in the store.

    Args:
        keys: The blob keys that are missing.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        self.keys = tuple(keys)
        shown = ", ".join(key[:12] for key in self.keys[:4]) + (", …" if len(self.keys) > 4 else "")
        super().__init__(
            f"{len(self.keys)} memory blob(s) are not in the store: {shown}. Add the documents again to compress "
            "them, or run `rcc verify --repair`."
        )


class TextMissingError(BlobsMissingError):
    """A document's text is not in the store.

    Args:
        keys: The text keys that are missing.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        super().__init__(keys)
        shown = ", ".join(key[:12] for key in self.keys[:4]) + (", …" if len(self.keys) > 4 else "")
        self.args = (
            f"{len(self.keys)} text(s) are not in the store: {shown}. Add the documents again, or run "
            "`rcc verify --repair`.",
        )


class FingerprintMismatchError(StoreError):
    """Memories of one model were about to be used with another model."""


class InvalidNameError(RCCError, ValueError):
    """A collection name or document id is not allowed."""


class UnknownCollectionError(RCCError, LookupError):
    """There is no collection with this name."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(f"There is no collection {name!r}.{suggest(name, known, 'collections')}")
        self.name = name


class UnknownDocumentError(RCCError, LookupError):
    """The collection has no document with this id."""

    def __init__(self, document: str, collection: str, known: Sequence[str] = ()) -> None:
        super().__init__(
            f"Collection {collection!r} has no document {document!r}.{suggest(document, known, 'documents')}"
        )
        self.document = document
        self.collection = collection


class EmptyDocumentError(RCCError, ValueError):
    """A document has no text to compress."""


class EmptyCollectionError(RCCError, ValueError):
    """A question was asked of a collection, or of a selection of its documents, that is empty."""


class UnreadableFileError(RCCError):
    """A file cannot be read as text."""


class MissingExtraError(RCCError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed: pip install 'rcc-integrations[{extra}]'")


def suggest(name: str, known: Sequence[str], what: str) -> str:
    """Return a sentence that names what was probably meant, or what exists.

    Args:
        name: The name that was not found.
        known: The names that exist.
        what: Plural noun for them.
    """
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return " Did you mean " + " or ".join(repr(item) for item in near) + "?"
    if not known:
        return f" There are no {what} yet."
    shown = ", ".join(repr(item) for item in list(known)[:5]) + (", …" if len(known) > 5 else "")
    return f" Known {what}: {shown}."
