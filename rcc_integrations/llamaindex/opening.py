"""Finding the store of an index again, and telling what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rcc_integrations.errors import (
    ConfigError,
    FingerprintMismatchError,
    StoreError,
    UnknownArgumentError,
    UnknownCollectionError,
)
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.struct import RCCMemoryStruct
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.shared import ReaderLease, share_reader

#: Where the store is if nothing is said, as for the `rcc` command.
DEFAULT_STORE = "memory"
#: Which collection it is if nothing is said: always the same, so that a second run goes on with the first.
DEFAULT_COLLECTION = "documents"
#: Options of `RCCReader.open` beside the store.
READER_OPTIONS = frozenset(
    ["model", "base", "device", "dtype", "attn", "merge", "read_only", "size_limit", "prefix_cache_bytes"]
)
#: Arguments of the index itself.
INDEX_ARGUMENTS = frozenset(
    ["nodes", "objects", "index_struct", "storage_context", "callback_manager", "transformations", "show_progress",
     "store", "collection", "reader", "llm", "ratio", "storage", "strict"]
)  # fmt: skip


def open_reader(
    store: str | Path | None,
    reader: RCCReader | None,
    llm: Any,
    struct: RCCMemoryStruct | None,
    options: dict[str, Any],
    *,
    create: bool = True,
) -> tuple[RCCReader, ReaderLease | None]:
    """Return the reader of an index, and the share of it if it was opened here.

    Args:
        store: A store's folder.
        reader: An open reader.
        llm: An LLM whose reader is to be shared, if it is an `RCCLLM`.
        struct: What is known of an index that was made before.
        options: `model` and other options of `RCCReader.open`.
        create: Make a store where there is none; never for an index that was made before.

    Raises:
        UnknownArgumentError: If there is no such option.
        ConfigError: If store and reader, or options and a reader, are both given.
        StoreError: The store of the existing index does not exist, or is a different one.
    """
    if unknown := sorted(set(options) - READER_OPTIONS):
        raise UnknownArgumentError("RCCMemoryIndex", unknown[0], [*READER_OPTIONS, *INDEX_ARGUMENTS])
    if store is not None and reader is not None:
        raise ConfigError("Give store or reader, not both: the reader has a store.")
    if reader is None and store is None and isinstance(llm, RCCLLM):
        reader = llm.memory
    if isinstance(llm, RCCLLM) and reader is not llm.memory:
        raise ConfigError("The llm must share the index's reader: make it with RCCLLM(reader=…), or leave store out.")
    if reader is not None and options:
        raise ConfigError(f"Give {sorted(options)[0]} to RCCReader.open: the reader is open already.")
    lease = None
    if reader is None:
        place = store if store is not None else (struct.store if struct else DEFAULT_STORE)
        if struct is not None and not Path(place, "store.json").is_file():
            raise StoreError(
                f"The memory of index {struct.index_id!r} was in the store {str(place)!r}, which is not there. If it "
                "was moved, give its place: load_index_from_storage(storage_context, store='…')."
            )
        lease = share_reader(place, create=create and struct is None, **options)
        reader = lease.reader
    try:
        if struct is not None:
            _check(reader, struct)
    except BaseException:
        if lease is not None:
            lease.close()
        raise
    return reader, lease


def _check(reader: RCCReader, struct: RCCMemoryStruct) -> None:
    place = str(reader.store.path)
    if struct.store_id and reader.store.id != struct.store_id:
        raise StoreError(
            f"The store {place!r} is another one (id {reader.store.id}) than the one that index "
            f"{struct.index_id!r} was made with (id {struct.store_id}): give the place of that one with store='…'."
        )
    if not struct.uid:
        return
    try:
        record = reader.store.collection(struct.collection)
    except UnknownCollectionError as error:
        renamed = [each.name for each in reader.collections() if each.uid == struct.uid]
        hint = f" It is called {renamed[0]!r} now: give collection={renamed[0]!r}." if renamed else ""
        raise StoreError(
            f"The store {place!r} has no collection {struct.collection!r}, where the memory of index "
            f"{struct.index_id!r} was.{hint}"
        ) from error
    if struct.fingerprint and record.fingerprint != struct.fingerprint:
        raise FingerprintMismatchError(
            f"Collection {struct.collection!r} of the store {place!r} was made anew by another model: its fingerprint "
            f"is {record.fingerprint}, and index {struct.index_id!r} was made with {struct.fingerprint}. Build the "
            "index again from its documents."
        )
