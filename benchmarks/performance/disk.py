"""Bytes on disk, and how fast they are read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.performance.common import default_model, row, seconds, shared_reader, token_ids

_TOKENS = 4096
_AIMS = {("int8", 4): 3000, ("int8", 8): 1600}


def bytes_on_disk() -> list[dict[str, Any]]:
    """Measure the whole folder of a closed store (memories, text, index), a source token."""
    from rcc_integrations import RCCReader

    model = default_model()
    text = model.tokenizer.decode(token_ids(_TOKENS))
    found = []
    for storage in ("int8", "bfloat16"):
        for ratio in (4, 8):
            with tempfile.TemporaryDirectory() as folder:
                with RCCReader.open(folder, model=model) as reader:
                    reader.add("text", {"text": text}, ratio=ratio, storage=storage)
                    tokens = reader.store.collection("text").tokens
                size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()) / tokens
            most = _AIMS.get((storage, ratio))
            aim = (f"≤ {most:,}", size <= most) if most else ("", None)
            found.append(
                row(f"bytes on disk a source token, all files, {storage} at ratio {ratio}", size, f"{size:,.0f}", *aim)
            )
    return found


def blob_reading() -> list[dict[str, Any]]:
    """Measure memories read and verified against their files read whole: from the disk, and from the system's cache."""
    with shared_reader() as reader:
        keys = list(dict.fromkeys(window.key for record in reader.documents("8k") for window in record.windows))
        paths = [reader.store.path / "blobs" / key[:2] / f"{key}.safetensors" for key in keys]
        size = sum(path.stat().st_size for path in paths) / 1e6

        def blobs() -> None:
            for _ in reader.store.get_blobs(keys):
                pass

        def plain() -> None:
            for path in paths:
                path.read_bytes()

        blobs()
        found = []
        for where in ("disk", "the system's cache"):
            ours: list[float] = []
            theirs: list[float] = []
            # In turn, so that both meet the same moments.
            for _ in range(10):
                for work, took in ((blobs, ours), (plain, theirs)):
                    if where == "disk":
                        _forget(paths)
                    took.append(seconds(work))
            ratio = min(theirs) / min(ours)
            found.append(
                row(
                    f"reading and verifying {len(keys)} memories of {size / len(keys):.2f} MB from {where} "
                    f"({size / min(ours):,.0f} MB/s) ÷ plain reading of the files ({size / min(theirs):,.0f} MB/s)",
                    ratio,
                    f"{ratio:.2f}",
                    "≥ 0.7",
                    ratio >= 0.7,
                )
            )
    return found


def _forget(paths: list[Path]) -> None:
    """Let the system drop files from its cache."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
