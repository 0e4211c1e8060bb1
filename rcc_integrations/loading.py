"""From stored memories to a prefix: read, check, decode, put together."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from rcc_integrations.memory.expected import check_blob
from rcc_integrations.memory.quantization import decode_into
from rcc_integrations.memory.records import WindowRecord
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.rcc_model import RCCModel


def load_prefix(
    store: MemoryStore,
    model: RCCModel,
    windows: Sequence[WindowRecord],
    ratio: int,
    before: Sequence[int] | None = None,
) -> Prefix:
    """Build the prefix of stored windows, in order.

    Args:
        store: Where their memories are.
        model: The model that made them.
        windows: Their records; the same window may come more than once.
        ratio: The ratio that they were made at.
        before: Token ids of the clear text in front; the model's own opening if not given.

    Raises:
        BlobsMissingError: A memory is not in the store (any more).
        CorruptBlobError: A memory is not what was stored, or does not fit the model.
    """
    spec, layout = model.memory_spec(ratio), model.layout(ratio)
    blobs = store.get_blobs([window.key for window in windows])

    def load(number: int, places: dict[str, Tensor]) -> None:
        stored = next(blobs)
        check_blob(stored, spec, entries=layout.entries(windows[number].tokens))
        decode_into(stored, places)

    return model.load_prefix([layout.entries(window.tokens) for window in windows], load, before, ratio)
