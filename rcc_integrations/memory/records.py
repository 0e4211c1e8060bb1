"""Records of collections, documents and windows in the index: immutable, with a strict JSON form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from rcc_integrations.errors import ConfigError, CorruptBlobError
from rcc_integrations.memory.expiry import Expiry
from rcc_integrations.memory.json_value import JSON, check_object, check_text
from rcc_integrations.memory.names import is_key

STORAGES: Final = ("int8", "bfloat16", "float32")

# The largest whole number of a record: floats hold all up to here exactly.
MAX_COUNT: Final = 2**53

_Checked = TypeVar("_Checked")


def check_storage(storage: str) -> str:
    """Return a storage's name unchanged.

    Raises:
        ConfigError: There is no such storage.
    """
    if storage not in STORAGES:
        raise ConfigError(f"Unknown storage {storage!r}: choose one of {', '.join(STORAGES)}.")
    return storage


@dataclass(frozen=True, slots=True)
class WindowRecord:
    """A window of a document and the key of its memory.

    Args:
        key: Key of the blob that holds its memory, 64 hexadecimal digits.
        start: Offset of the window's first character in the document's text.
        end: Offset after its last character.
        tokens: Tokens in the window.
        slots: Slots of its memory.
    """

    key: str
    start: int
    end: int
    tokens: int
    slots: int

    def to_json(self) -> list[JSON]:
        """Return `[key, start, end, tokens, slots]` (a list, as there may be millions)."""
        return [self.key, self.start, self.end, self.tokens, self.slots]

    @classmethod
    def from_json(cls, value: JSON) -> WindowRecord:
        """Read the output of `to_json`.

        Raises:
            CorruptBlobError: A field is missing, superfluous, of a wrong type or out of range.
        """
        if type(value) is not list or len(value) != 5:
            raise CorruptBlobError(f"A window's record is not a list of 5 fields: {_short(value)}.")
        key, start, end, tokens, slots = value
        if (
            not is_key(key)
            or type(start) is not int
            or type(end) is not int
            or type(tokens) is not int
            or type(slots) is not int
            or not 0 <= start <= end <= MAX_COUNT
            or not 0 <= tokens <= MAX_COUNT
            or not 0 <= slots <= MAX_COUNT
        ):
            raise CorruptBlobError(f"A window's record is not [key, start, end, tokens, slots]: {_short(value)}.")
        return cls(str(key), start, end, tokens, slots)


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """A document of a collection.

    Args:
        id: The document's id, unique in its collection.
        order: Position in the order of first insertion (the collection's revision at that moment); not contiguous.
        text_key: Key of the stored text: BLAKE2b-256 of its UTF-8 bytes, hexadecimal.
        characters: Length of the text in characters.
        tokens: Tokens in the text.
        slots: Slots of all windows.
        windows: The windows in order.
        digest: A value by which the caller recognises an unchanged source.
        metadata: JSON values.
        added: Time at which this content was stored, in seconds since 1970.
    """

    id: str
    order: int
    text_key: str
    characters: int
    tokens: int
    slots: int
    windows: tuple[WindowRecord, ...]
    digest: str
    metadata: dict[str, JSON]
    added: float

    def to_json(self) -> dict[str, JSON]:
        """Return the record as JSON."""
        return {
            "id": self.id,
            "order": self.order,
            "text_key": self.text_key,
            "characters": self.characters,
            "tokens": self.tokens,
            "slots": self.slots,
            "windows": [window.to_json() for window in self.windows],
            "digest": self.digest,
            "metadata": self.metadata,
            "added": self.added,
        }

    @classmethod
    def from_json(cls, value: JSON) -> DocumentRecord:
        """Read the output of `to_json`.

        Raises:
            CorruptBlobError: A field is missing, unknown, of a wrong type or out of range.
        """
        fields = _Fields(value, "document", 10)
        windows = fields.get("windows", list)
        record = cls(
            id=fields.text("id"),
            order=fields.count("order"),
            text_key=fields.key("text_key"),
            characters=fields.count("characters"),
            tokens=fields.count("tokens"),
            slots=fields.count("slots"),
            windows=tuple([WindowRecord.from_json(window) for window in windows]),
            digest=fields.text("digest"),
            metadata=fields.object("metadata"),
            added=fields.number("added"),
        )
        if record.slots != sum(window.slots for window in record.windows):
            raise CorruptBlobError(f"The record of document {record.id!r} counts other slots than its windows have.")
        if any(window.end > record.characters for window in record.windows):
            raise CorruptBlobError(f"A window of document {record.id!r} ends past the end of its text.")
        return record

    @property
    def keys(self) -> set[str]:
        """The distinct blob keys of the windows."""
        return {window.key for window in self.windows}


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A named, ordered set of documents, all compressed by one model.

    Args:
        uid: Random and never reused, 32 hexadecimal digits: `(uid, revision)` identifies one content for ever.
        name: Name of the collection; it can change.
        fingerprint: Fingerprint of the model that makes its memories.
        model: Description of the model, JSON.
        storage: Number format of memories: `int8`, `bfloat16` or `float32`.
        revision: Increases by one with every change of content.
        documents: Number of documents.
        windows: Number of windows in all documents.
        tokens: Tokens of all documents.
        slots: Slots of all documents.
        created: Seconds since 1970.
        expiry: When it is gone by itself; None for never. Two records that differ in it alone are equal: it says
            nothing about the content.
    """

    uid: str
    name: str
    fingerprint: str
    model: dict[str, JSON]
    storage: str
    revision: int
    documents: int
    windows: int
    tokens: int
    slots: int
    created: float
    expiry: Expiry | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, JSON]:
        """Return the record as JSON; the expiry is there only if it has one."""
        return {
            "uid": self.uid,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "model": self.model,
            "storage": self.storage,
            "revision": self.revision,
            "documents": self.documents,
            "windows": self.windows,
            "tokens": self.tokens,
            "slots": self.slots,
            "created": self.created,
            **({} if self.expiry is None else {"expiry": self.expiry.to_json()}),
        }

    @classmethod
    def from_json(cls, value: JSON) -> CollectionRecord:
        """Read the output of `to_json`.

        Raises:
            CorruptBlobError: A field is missing, unknown, of a wrong type or out of range.
        """
        expires = type(value) is dict and "expiry" in value
        fields = _Fields(value, "collection", 12 if expires else 11)
        record = cls(
            uid=fields.text("uid"),
            name=fields.text("name"),
            fingerprint=fields.text("fingerprint"),
            model=fields.object("model"),
            storage=fields.text("storage"),
            revision=fields.count("revision"),
            documents=fields.count("documents"),
            windows=fields.count("windows"),
            tokens=fields.count("tokens"),
            slots=fields.count("slots"),
            created=fields.number("created"),
            expiry=Expiry.from_json(fields.get("expiry", dict)) if expires else None,
        )
        if record.storage not in STORAGES:
            raise CorruptBlobError(f"The record of collection {record.name!r} names the storage {record.storage!r}.")
        return record


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A consistent snapshot of a collection and its documents.

    Args:
        collection: The collection's record.
        documents: Its documents, in order of first insertion.
    """

    collection: CollectionRecord
    documents: tuple[DocumentRecord, ...]


class _Fields:
    """Takes typed fields out of a JSON object that must have exactly so many."""

    def __init__(self, value: JSON, what: str, count: int) -> None:
        if type(value) is not dict:
            raise CorruptBlobError(f"The record of a {what} is not an object: {_short(value)}.")
        if len(value) != count:
            raise CorruptBlobError(f"The record of a {what} has {len(value)} fields, not {count}: {_short(value)}.")
        self._value: Mapping[str, Any] = value
        self._what = what

    def get(self, name: str, kind: type) -> Any:
        value = self._value.get(name)
        if type(value) is not kind:
            raise CorruptBlobError(f"The record of a {self._what} has no valid {name!r}: {_short(value)}.")
        return value

    def text(self, name: str) -> str:
        value: str = self.get(name, str)
        return value if value.isascii() else self._checked(name, str, check_text)

    def object(self, name: str) -> dict[str, JSON]:
        return self._checked(name, dict, check_object)

    def _checked(self, name: str, kind: type, check: Callable[[Any, str], _Checked]) -> _Checked:
        try:
            return check(self.get(name, kind), f"{name!r} in the record of a {self._what}")
        except ConfigError as error:
            raise CorruptBlobError(str(error)) from None

    def count(self, name: str) -> int:
        value = self._value.get(name)
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            raise CorruptBlobError(f"The record of a {self._what} has no valid {name!r}: {_short(value)}.")
        return value

    def key(self, name: str) -> str:
        value = self._value.get(name)
        if not is_key(value):
            raise CorruptBlobError(f"The record of a {self._what} has no valid {name!r}: {_short(value)}.")
        return str(value)

    def number(self, name: str) -> float:
        value = self._value.get(name)
        if not is_number(value):
            raise CorruptBlobError(f"The record of a {self._what} has no valid {name!r}: {_short(value)}.")
        return float(value)  # type: ignore[arg-type]


def is_number(value: object) -> bool:
    """Tell whether a JSON value is a number that a float can hold."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) <= MAX_COUNT)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 100 else shown[:99] + "…"
