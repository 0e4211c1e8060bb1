"""From stored memories to a prefix: read, check, decode, put together."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from torch import Tensor

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory.expected import check_blob, most_bytes
from rcc_integrations.memory.quantization import decode_into
from rcc_integrations.memory.records import WindowRecord
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.rcc_model import RCCModel


def _blobs(
    groups: Sequence[tuple[MemoryStore, Sequence[WindowRecord]]], most: Sequence[int], made_by: str
) -> Iterator[Iterator[dict[str, Tensor]]]:
    at = 0
    for store, windows in groups:
        keys = [window.key for window in windows]
        yield store.get_blobs(keys, most=most[at : at + len(windows)], fingerprint=made_by)
        at += len(windows)


def load_prefix(
    store: MemoryStore,
    model: RCCModel,
    windows: Sequence[WindowRecord],
    ratio: int,
    before: Sequence[int] | None = None,
    beside: Sequence[tuple[MemoryStore, Sequence[WindowRecord]]] = (),
) -> Prefix:
    """Build the prefix of stored windows, in order.

    Args:
        store: Where their memories are.
        model: The model that made them.
        windows: Their records; the same window may come more than once.
        ratio: The ratio at which they were made.
        before: Token ids of the clear text in front; the model's own opening if not given.
        beside: Further stores and windows, which stand behind.

    Raises:
        BlobsMissingError: A memory is not in the store (any more).
        CorruptBlobError: A memory is not what was stored, or does not fit the model.
        FingerprintMismatchError: A memory was made by another model.
    """
    spec, layout = model.memory_spec(ratio), model.layout(ratio)
    entries = []
    groups = [(store, windows), *beside]
    for window in (window for _, group in groups for window in group):
        if not 1 <= window.tokens <= model.config.window or window.slots != layout.slots(window.tokens):
            raise CorruptBlobError(
                f"The record of memory {window.key[:12]}… tells of {window.tokens} tokens in {window.slots} slots, "
                f"which a window of this model (at most {model.config.window} tokens, ratio {ratio}) never has."
            )
        entries.append(layout.entries(window.tokens))
    most = [most_bytes(spec, count) for count in entries]
    blobs = itertools.chain.from_iterable(_blobs(groups, most, model.fingerprint(ratio)))

    def load(number: int, places: dict[str, Tensor]) -> None:
        stored = next(blobs)
        check_blob(stored, spec, entries=entries[number])
        decode_into(stored, places)

    return model.load_prefix(entries, load, before, ratio)
