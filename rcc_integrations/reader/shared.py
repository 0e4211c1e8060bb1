"""Readers and models that several owners share: one of each for a store and a model in a process, counted."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rcc_integrations.errors import StoreError
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.reader import RCCReader

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel

#: Options of `RCCReader.open` that say which model it is.
MODEL_OPTIONS = ("base", "device", "dtype", "attn", "merge")


class SharedModel:
    """Weights that are loaded once, when first needed, for all who name the same model and options.

    They go when nobody holds the object any more; those that were used last stay until others are, so that objects
    that come and go do not load them again and again.

    Args:
        name: Folder or hub id; the default model if not given.
        options: See `MODEL_OPTIONS`.
    """

    def __init__(self, name: str | None, options: dict[str, Any]) -> None:
        self._name, self._options = name, options
        self._lock = ForkSafeLock()
        self._model: RCCModel | None = None

    def __call__(self) -> RCCModel:
        """Return the model."""
        with self._lock:
            if self._model is None:
                from rcc_integrations.model.rcc_model import RCCModel

                name = self._name
                self._model = (
                    RCCModel.default(**self._options)
                    if name is None
                    else RCCModel.from_pretrained(name, **self._options)
                )
            return self._model


@dataclass
class _Entry:
    reader: RCCReader
    model: SharedModel | None
    owners: int = 0


@dataclass
class _Shared:
    """What is open in this process."""

    entries: dict[Hashable, _Entry] = field(default_factory=dict)
    models: weakref.WeakValueDictionary[Hashable, SharedModel] = field(default_factory=weakref.WeakValueDictionary)
    recent: SharedModel | None = None
    # Reentrant: a finalizer may run in the thread that holds it.
    lock: ForkSafeLock = field(default_factory=ForkSafeLock)


_shared = _Shared()


class ReaderLease:
    """A share of a reader. The reader closes when its last share is closed or dropped.

    Args:
        key: The reader's key among those that are open.
        reader: The reader.
    """

    def __init__(self, key: Hashable, reader: RCCReader) -> None:
        self.reader = reader
        self._finalize = weakref.finalize(self, _give_back, key, reader, False)
        self._finalize.atexit = False
        self._key = key

    def close(self) -> None:
        """Give the share back; if it was the last, the reader closes and its weights are freed."""
        if self._finalize.detach() is not None:
            _give_back(self._key, self.reader, True)


def share_reader(
    store: str | PathLike[str], *, model: RCCModel | str | PathLike[str] | None = None, create: bool = True,
    **options: Any,
) -> ReaderLease:  # fmt: skip
    """Return a share of the process's one reader of a store, a model and options; it is opened if there is none.

    Args:
        store: The store's folder.
        model: A model, or folder or hub id of one; the default model if not given. Weights are shared between stores.
        create: Create the store if it does not exist.
        **options: As for `RCCReader.open`.

    Raises:
        StoreError: There is no store and `create` is false, or it cannot be opened.
    """
    named = model is None or isinstance(model, str | PathLike)
    known = {name: options[name] for name in MODEL_OPTIONS if options.get(name) is not None}
    rest = {name: value for name, value in options.items() if name not in MODEL_OPTIONS}
    which: Hashable = (_name(model) if named else id(model), tuple(sorted((name, str(known[name])) for name in known)))
    path = Path(store)
    key: Hashable = (os.path.realpath(path), which, tuple(sorted((name, str(rest[name])) for name in rest)))
    with _shared.lock:
        entry = _shared.entries.get(key)
        if entry is None or not _is_usable(entry.reader):
            loader: Any = _model_of(_name(model), known, which) if named else model
            opened = MemoryStore.open(
                path, create=create, **{name: rest[name] for name in ("read_only", "size_limit") if name in rest}
            )
            more = {name: rest[name] for name in ("prefix_cache_bytes",) if name in rest}
            entry = _Entry(RCCReader(opened, loader, **more), loader if named else None)
            entry.reader.opened_with = {"store": str(opened.path), "model": _name(model), **options} if named else None
            _shared.entries[key] = entry
        entry.owners += 1
        return ReaderLease(key, entry.reader)


def _name(model: Any) -> str | None:
    return None if model is None else os.fspath(model) if isinstance(model, str | PathLike) else str(id(model))


def _model_of(name: str | None, options: dict[str, Any], which: Hashable) -> SharedModel:
    found = _shared.models.get(which)
    if found is None:
        found = _shared.models[which] = SharedModel(name, options)
    _shared.recent = found
    return found


def _is_usable(reader: RCCReader) -> bool:
    try:
        reader.store.collections()
    except StoreError:
        return False
    return not reader.closed


def _give_back(key: Hashable, reader: RCCReader, closing: bool) -> None:
    with _shared.lock:
        entry = _shared.entries.get(key)
        if entry is None or entry.reader is not reader:
            entry = None  # it was replaced: what is left of it goes with this share
        else:
            entry.owners -= 1
            if entry.owners > 0:
                return
            del _shared.entries[key]
            if closing and _shared.recent is entry.model:
                _shared.recent = None
    if closing:
        reader.close()
        return
    # Closing waits for answers, which a finalizer must not.
    with contextlib.suppress(RuntimeError):
        threading.Thread(target=reader.close, name="rcc-close", daemon=True).start()
