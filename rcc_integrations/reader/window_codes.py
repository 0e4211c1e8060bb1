"""From stored memories to the codes of a routing index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from rcc_integrations.errors import CorruptBlobError
from rcc_integrations.memory.expected import check_blob, most_bytes
from rcc_integrations.memory.quantization import decode
from rcc_integrations.memory.records import WindowRecord
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.model.routing_head import RoutingHead

#: Windows whose codes are handed on at once: an interrupted run keeps those before.
_BATCH = 256


def read_codes(
    store: MemoryStore, model: RCCModel, head: RoutingHead, windows: Sequence[WindowRecord], ratio: int
) -> Iterator[dict[str, np.ndarray]]:
    """Make the codes of windows from their stored memories, never from text: codes do not depend on who makes them.

    Args:
        store: Where the memories are.
        model: The model that made them.
        head: Its routing head for these memories.
        windows: Their records.
        ratio: The ratio that they were made at.

    Yields:
        Codes by the key of the window, int8, shape (entries, width).

    Raises:
        BlobsMissingError: A memory is not in the store (any more).
        CorruptBlobError: A memory is not what was stored, or does not fit the model.
    """
    spec, layout = model.memory_spec(ratio), model.layout(ratio)
    for first in range(0, len(windows), _BATCH):
        batch = windows[first : first + _BATCH]
        entries = [layout.entries(window.tokens) for window in batch]
        if any(not 1 <= window.tokens <= model.config.window for window in batch):
            raise CorruptBlobError(f"A record tells of a window of more than {model.config.window} tokens.")
        most = [most_bytes(spec, count) for count in entries]
        blobs = store.get_blobs([window.key for window in batch], most=most, fingerprint=model.fingerprint(ratio))
        codes = {}
        for window, count, stored in zip(batch, entries, blobs, strict=True):
            check_blob(stored, spec, entries=count)
            codes[window.key] = head.stored(decode(stored, torch.float32), layout)
        yield codes
