"""`Compressor`: windows of text in, memories out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.encoder import encode_slots
from rcc_integrations.model.family import Family
from rcc_integrations.model.kv import Memory, kv_memory
from rcc_integrations.model.memory_spec import MemorySpec
from rcc_integrations.model.projection import LevelProjections
from rcc_integrations.model.residual import residual_memory
from rcc_integrations.model.tokens import Tokens

#: Tokens of padded windows that go through the encoder in one batch.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}


class Compressor:
    """Runs the encoder over windows and turns its states into memories.

    Args:
        encoder: Returns the body that reads windows; made when it is first needed.
        decoder: Parts of the decoder, whose layers project keys and values.
        projections: Maps from the encoder's levels to the decoder's.
        spec: The shape of memories.
        tokens: Checks token ids.
    """

    def __init__(
        self,
        encoder: Callable[[], nn.Module],
        decoder: Family,
        projections: LevelProjections,
        spec: MemorySpec,
        tokens: Tokens,
    ) -> None:
        self._encoder, self._decoder, self._projections = encoder, decoder, projections
        self._spec, self._tokens = spec, tokens

    def batches(
        self, windows: Sequence[Sequence[int]], device: torch.device, most: Callable[[], int | None] = lambda: None
    ) -> Iterator[list[int]]:
        """Yield the numbers of windows that go through the encoder together, windows of like length first to last.

        Args:
            windows: Token ids of each window.
            device: Where the encoder is.
            most: Asked before every batch: the most tokens of it, or `None` for what the device takes best.

        Raises:
            ConfigError: A window is empty or too long.
        """
        longest = self._spec.config.window
        for window in windows:
            if not 0 < len(window) <= longest:
                raise ConfigError(f"A window has {len(window)} tokens; 1 to {longest} are possible.")
        best = _BATCH_TOKENS.get(device.type, _BATCH_TOKENS["cuda"])
        waiting = sorted(range(len(windows)), key=lambda number: len(windows[number]))
        while waiting:
            size = max(1, (most() or best) // len(windows[waiting[-1]]))
            numbers, waiting = waiting[-size:], waiting[:-size]
            yield numbers

    def compress(self, windows: Sequence[Sequence[int]], ratio: int) -> list[Memory]:
        """Compress one batch of windows as it is; differentiable unless called under `no_grad`.

        Args:
            windows: Token ids of each window.
            ratio: Compression ratio.

        Returns:
            A memory for each window; see `RCCModel.compress`.
        """
        return self.memories(*self.encode(windows, ratio), ratio)

    def memories(self, states: Tensor, counts: Sequence[int], ratio: int) -> list[Memory]:
        """Turn what `encode` returned into a memory for each window."""
        batch = self.inject(states, ratio)
        return [{name: both[row][..., :count, :] for name, both in batch.items()} for row, count in enumerate(counts)]

    def inject(self, states: Tensor, ratio: int) -> Memory:
        """Turn encoder states of shape (levels, batch, entries, hidden) into memories with the batch as first axis."""
        if self._spec.config.injection == "kv":
            return kv_memory(self._decoder, self._projections, states, self._spec.layout(ratio).levels)
        return residual_memory(self._projections, states)

    def encode(
        self, windows: Sequence[Sequence[int]], ratio: int, *, final_level: bool = False
    ) -> tuple[Tensor, list[int]]:
        """Run the encoder over one batch of windows.

        Args:
            windows: Token ids of each window.
            ratio: Compression ratio.
            final_level: Also return the level above the last layer.

        Returns:
            States of shape (levels, windows, entries, hidden), and the number of entries of each window; states
            behind that number mean nothing.
        """
        self._tokens.check(windows)
        layout = self._spec.layout(ratio)
        longest = max(len(window) for window in windows)
        ids = torch.zeros(len(windows), longest, dtype=torch.int64)
        counts = [layout.entries(len(window)) for window in windows]
        sources = torch.zeros(len(windows), len(layout.levels), max(counts), dtype=torch.int64)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = torch.tensor(window)
            sources[row, :, : counts[row]] = layout.sources(len(window))
        encoder = self._encoder()
        family, device = Family.of(encoder), next(encoder.parameters()).device
        states = encode_slots(family, ids.to(device), sources.to(device), layout.levels, final_level=final_level)
        return states, counts
