"""Compression against a bare forward pass of the same encoder over the same tokens."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.performance.common import best, default_model, row, token_ids

_TOKENS = 1024
_BATCHES = (1, 2, 4, 8)


def compression() -> list[dict[str, Any]]:
    """Measure tokens a second at ratio 4, in full windows, each side at its best batch."""
    import torch

    model = default_model()
    ids = token_ids(_TOKENS)
    windows = [ids[start : start + 128] for start in range(0, _TOKENS, 128)]

    def bare(batch: int) -> None:
        with torch.no_grad():
            for start in range(0, len(windows), batch):
                model.encoder(input_ids=torch.tensor(windows[start : start + batch]), use_cache=False)

    def compress(batch: int) -> None:
        with torch.no_grad():
            for start in range(0, len(windows), batch):
                model.compress_batch(windows[start : start + batch], 4)

    bare(8)
    speeds = {
        work.__name__: {batch: len(ids) / best(partial(work, batch), 2) for batch in _BATCHES}
        for work in (bare, compress)
    }
    usual = len(ids) / best(lambda: model.compress(windows, 4), 2)
    fastest = {name: max(found, key=found.__getitem__) for name, found in speeds.items()}
    plain = speeds["bare"][fastest["bare"]]
    ratio = speeds["compress"][fastest["compress"]] / plain
    return [
        row(
            f"compression at ratio 4 ÷ bare forward pass of the encoder ({plain:.0f} tokens/s), each at its best batch "
            f"({fastest['compress']} and {fastest['bare']} windows)",
            ratio,
            f"{ratio:.2f}",
            "≥ 0.9",
            ratio >= 0.9,
        ),
        row("… in the batches that the package makes", usual / plain, f"{usual / plain:.2f} ({usual:.0f} tokens/s)"),
    ]
