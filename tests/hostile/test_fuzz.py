"""Blobs and records changed at random: read rightly, or refused with an error of ours, and never anything else.

The long form: `python -m pytest tests/hostile/test_fuzz.py --slow`. A case that fails names its number; `case(number)`
runs it alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from rcc_integrations.errors import CorruptBlobError, StoreFormatError
from rcc_integrations.memory.blobs import BlobFolder, checksum_of, to_bytes
from rcc_integrations.memory.expected import check_blob, most_bytes
from rcc_integrations.memory.json_disk import JSONOnlyDisk
from rcc_integrations.memory.json_value import dumps, loads
from rcc_integrations.memory.ledger import BlobRow, TextRow, Usage
from rcc_integrations.memory.quantization import decode, encode
from rcc_integrations.memory.records import STORAGES, CollectionRecord, DocumentRecord, WindowRecord
from tests.memory.conftest import key_for, memory

KEY = key_for("fuzz")
SPEC = {name: (3, 2, 4) for name in ("key", "value")}
BLOBS = [to_bytes(encode(memory(slots=slots), storage)) for storage in STORAGES for slots in (1, 5)]
WINDOWS = tuple(WindowRecord(key_for(str(number)), 9 * number, 9 * number + 9, 4, 2) for number in range(3))
RECORDS: list[Any] = [
    DocumentRecord("a.md", 1, "0" * 64, 27, 12, 6, WINDOWS, "d", {"a": [1, 2.5, None, True, "ü"]}, 1.5),
    CollectionRecord("0" * 32, "n", "f", {"ratio": 4, "base": "tiny"}, "int8", 1, 1, 3, 12, 6, 1.5),
    BlobRow(900, "0" * 32, "int8", 1, 1.5),
    TextRow(27, 1),
    Usage(900, 27),
]
ROWS = [dumps(record.to_json() if hasattr(record, "to_json") else asdict(record)) for record in RECORDS]
NUMBERS = [0, -1, 1, 2, 7, 127, 2**15, 2**31, 2**32 - 1, 2**53 + 1, 2**63, 2**64, 10**30, 1.5, 1e308]
VALUES: list[Any] = [*NUMBERS, None, True, False, "", "x", "../..", "\ud800", "0" * 64, [], {}, [[]], {"a": {}}, "NaN"]
PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"\\",
    b"\\ud800",
    b"NaN",
    b"1e999",
    b"-",
    b"\xff",
    b"\0",
    b"9" * 5000,
]


def bytes_changed(rng: random.Random, data: bytes) -> bytes:
    """Return bytes with a few random changes, the first ones changed most."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = min(int(rng.paretovariate(0.5)) - 1, len(changed)) if rng.random() < 0.5 else rng.randint(0, len(changed))
        end = min(at + rng.choice([1, 1, 2, 8, 64]), len(changed))
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at:end] = rng.randbytes(end - at)
            case 2:
                del changed[at:]
            case 3:
                changed[at:at] = rng.choice(PIECES)
            case 4:
                changed[at:end] = changed[at:end] * rng.choice([0, 2, 50])
            case _:
                changed[at:end] = rng.choice(PIECES)
    return bytes(changed)


def value_changed(rng: random.Random, value: Any) -> Any:
    """Return JSON with one random part replaced, removed, doubled or renamed."""
    if isinstance(value, dict | list) and value and rng.random() < 0.8:
        place = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        changed: Any = value.copy()
        match rng.randrange(6):
            case 0 if isinstance(changed, list):
                changed.insert(place, rng.choice(VALUES))
            case 0 | 1:
                del changed[place]
            case 2 if isinstance(changed, dict):
                changed[rng.choice(["x", "", "__class__"])] = changed.pop(place)
            case _:
                changed[place] = value_changed(rng, value[place])
        return changed
    return rng.choice(VALUES)


def blob_case(rng: random.Random, folder: BlobFolder) -> bool:
    """Read a changed blob that the index vouches for; tell whether it could be read."""
    data = rng.choice(BLOBS)
    if rng.random() < 0.5:
        length = int.from_bytes(data[:8], "little")
        text = json.dumps(value_changed(rng, json.loads(data[8 : 8 + length]))).encode()
        data = (len(text) if rng.random() < 0.9 else rng.choice(NUMBERS[:11]) % 2**64).to_bytes(8, "little") + (
            text + data[8 + length :]
        )
    if rng.random() < 0.6:
        data = bytes_changed(rng, data)
    path = folder.path(KEY)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    try:
        stored = folder.load(KEY, size=len(data), checksum=checksum_of(data))
        entries = check_blob(stored, SPEC)
    except CorruptBlobError:
        return False
    assert len(data) <= most_bytes(SPEC, entries)
    for name, tensor in decode(stored).items():
        assert tensor.shape == (*SPEC[name][:-1], entries, SPEC[name][-1]) and torch.isfinite(tensor).all()
    return True


def record_case(rng: random.Random, disk: JSONOnlyDisk) -> bool:
    """Read a changed record; tell whether it could be read."""
    number = rng.randrange(len(RECORDS))
    text = ROWS[number]
    if rng.random() < 0.7:
        text = json.dumps(value_changed(rng, json.loads(text)), ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.5:
        text = bytes_changed(rng, text.encode(errors="surrogatepass")).decode(errors="replace")
    try:
        record = type(RECORDS[number]).from_json(disk.fetch(1, None, text, False))
    except (CorruptBlobError, StoreFormatError):
        return False
    if hasattr(record, "to_json"):
        assert type(record).from_json(loads(dumps(record.to_json()))) == record
        assert dumps(record.to_json()).encode()
    return True


def case(number: int, folder: BlobFolder, disk: JSONOnlyDisk) -> bool:
    """Run one case, the same every time."""
    rng = random.Random(f"hostile:{number}")
    return blob_case(rng, folder) if number % 2 else record_case(rng, disk)


@pytest.mark.parametrize("cases", [600, pytest.param(10_000, marks=pytest.mark.slow)])
def test_whatever_is_read_is_read_rightly_or_refused(tmp_path: Path, cases: int) -> None:
    folder, disk = BlobFolder(tmp_path / "blobs"), JSONOnlyDisk(str(tmp_path))
    read = 0
    for number in range(cases):
        try:
            read += case(number, folder, disk)
        except Exception as error:
            raise AssertionError(f"case {number}: {error!r}") from error
    # Neither is everything refused nor everything let through: the changes reach what there is to check.
    assert cases // 50 < read < cases // 2, read


@pytest.mark.parametrize("changed", [bytes_changed, value_changed])
def test_the_cases_are_many(changed: Callable[..., Any]) -> None:
    source: Any = BLOBS[0] if changed is bytes_changed else json.loads(ROWS[0])
    assert len({repr(changed(random.Random(number), source)) for number in range(200)}) > 80
