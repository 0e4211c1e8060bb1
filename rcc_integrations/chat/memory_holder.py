"""`MemoryHolder`: the reader of an object with settings; shared, reopened when the settings change, never copied."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from rcc_integrations.errors import StoreError
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.scratch import ScratchFolder
from rcc_integrations.reader.shared import ReaderLease, share_reader


class MemoryHolder:
    """Holds a share of the reader that settings name.

    Copies and pickles of it are empty: they open the reader of their own object's settings.
    """

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._lease: ReaderLease | None = None
        self._key: Hashable = None
        self._folder: ScratchFolder | None = None

    @property
    def is_open(self) -> bool:
        """Whether a reader is open."""
        return self._lease is not None and not self._lease.reader.closed

    def reader(
        self, store: Any, *, model: str | None = None, create: bool = True, what: str = "store", **options: Any
    ) -> RCCReader:
        """Return the reader of a store; the one that is held if nothing changed.

        Args:
            store: The store's folder; a temporary one if not given.
            model: Folder or hub id of the model; the default model if not given.
            create: Create the store if it does not exist.
            what: What to call the setting in errors.
            **options: As for `RCCReader.open`; those that are `None` are left out.

        Raises:
            StoreError: There is no store and `create` is false, or it cannot be opened.
        """
        known = {name: value for name, value in options.items() if value is not None}
        key = (None if store is None else str(store), model, tuple(sorted((name, str(known[name])) for name in known)))
        with self._lock:
            if self._lease is not None and self._key == key and not self._lease.reader.closed:
                return self._lease.reader
            if store is None:
                if self._folder is None or not self._folder.path.is_dir():
                    self._folder = ScratchFolder(self)
                store = self._folder.path / "memory"
            elif not create and not (Path(store) / "store.json").is_file():
                raise StoreError(
                    f"There is no store in {str(store)!r}, which {what} names: give its folder, or add documents first."
                )
            lease = share_reader(store, model=model, create=create, **known)
            old, self._lease, self._key = self._lease, lease, key
        if old is not None:
            old.close()
        return lease.reader

    def close(self) -> None:
        """Give the share back; the reader closes with its last share."""
        with self._lock:
            lease, self._lease = self._lease, None
            folder, self._folder = self._folder, None
        if lease is not None:
            lease.close()
        if folder is not None:
            folder.remove()

    def __copy__(self) -> MemoryHolder:
        return MemoryHolder()

    def __deepcopy__(self, memo: dict[int, Any]) -> MemoryHolder:
        return MemoryHolder()

    def __reduce__(self) -> Any:
        return MemoryHolder, ()
