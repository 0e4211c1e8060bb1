"""Memories in a store that the model at hand never made, though the index vouches for them."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from rcc_integrations import RCCReader
from rcc_integrations.cli.app import app
from rcc_integrations.errors import CorruptBlobError, FingerprintMismatchError, GenerationError, StoreFormatError
from rcc_integrations.memory.blobs import to_bytes
from rcc_integrations.memory.store import MemoryStore
from tests.hostile.conftest import Outside
from tests.hostile.stores import blob_path, change_row, recount, row_key, row_value, run, set_blob, set_row
from tests.tiny import TEXT, tiny_model

pytestmark = pytest.mark.timeout(60)

QUESTION = "Who approves leave?"


@pytest.fixture(scope="module")
def sound(model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("memories") / "store"
    with RCCReader.open(path, model=model) as reader:
        reader.add("notes", {"a": TEXT, "b": "Tomas Lind works as a baker."})
        reader.add("plain", {"a": TEXT}, storage="float32")
    return path


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "store"))


def ask(store: Path, model: Any, collection: str = "notes") -> str:
    with RCCReader.open(store, model=model, read_only=True) as reader:
        return str(reader.ask(collection, QUESTION, max_new_tokens=4).text)


def spoil(store: Path, collection: str, change: Callable[[dict[str, Tensor]], Any]) -> None:
    """Change the tensors of a collection's first memory, size and checksum in the index as well."""
    with MemoryStore.open(store, read_only=True) as opened:
        key = opened.documents(collection)[0].windows[0].key
        tensors = {name: tensor.clone() for name, tensor in opened.get_blob(key).items()}
    change(tensors)
    set_blob(store, key, to_bytes({name: tensor.contiguous() for name, tensor in tensors.items()}))


def test_the_sound_store_answers(store: Path, model: Any, outside: Outside) -> None:
    assert ask(store, model) is not None and ask(store, model, "plain") is not None


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda tensors: tensors["key.scale"].view(-1)[5:6].fill_(float("nan")), "NaN or infinity"),
        (lambda tensors: tensors["value.scale"].view(-1)[:1].fill_(float("inf")), "NaN or infinity"),
        (lambda tensors: tensors.update({"key.q": tensors["key.q"].to(torch.float32)}), "with a scale"),
        (lambda tensors: tensors.update({"key.scale": tensors["key.scale"].to(torch.float32)}), "with a scale"),
        (lambda tensors: tensors.update({"key.scale": tensors["key.scale"][..., :1, :]}), "has a scale of shape"),
        (lambda tensors: tensors.pop("key.scale"), "lacks the other half"),
        (lambda tensors: (tensors.pop("key.scale"), tensors.pop("key.q")), "the model expects"),
        (lambda tensors: tensors.update(more=torch.zeros(1, 1)), "the model expects"),
        (lambda tensors: tensors.update({name: one[:1] for name, one in tensors.items()}), "has shape"),
        (lambda tensors: tensors.update({name: one[:, :1] for name, one in tensors.items()}), "has shape"),
        (lambda tensors: tensors.update({name: one[:, :, :1] for name, one in tensors.items()}), "entries"),
        (lambda tensors: tensors.update({name: one[None] for name, one in tensors.items()}), "has shape"),
        (lambda tensors: tensors.update(
            {name: torch.cat([one] * 2000, dim=2) for name, one in tensors.items()}), "at most"),
    ],
)  # fmt: skip
def test_memories_of_other_types_shapes_and_numbers_are_refused(
    store: Path, model: Any, change: Callable[[dict[str, Tensor]], Any], match: str
) -> None:
    spoil(store, "notes", change)
    with pytest.raises(CorruptBlobError, match=match):
        ask(store, model)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_plain_memories_that_are_not_finite_are_refused(store: Path, model: Any, value: float) -> None:
    spoil(store, "plain", lambda tensors: tensors["value"].view(-1)[7:8].fill_(value))
    with pytest.raises(CorruptBlobError, match="NaN or infinity"):
        ask(store, model, "plain")


def test_numbers_that_overflow_within_the_model_end_in_an_error(store: Path, model: Any) -> None:
    spoil(store, "plain", lambda tensors: [tensor.fill_(3e38) for tensor in tensors.values()])
    with RCCReader.open(store, model=model, read_only=True) as reader:
        for options in ({}, {"temperature": 1.0, "seed": 1}):
            with pytest.raises(GenerationError, match="NaN or infinity"):
                reader.ask("plain", QUESTION, max_new_tokens=4, **options)


def test_a_fingerprint_that_lies_is_found_out_by_the_shapes(store: Path, model: Any) -> None:
    """The record says that this model made the memories; they have another model's shape."""
    other = tiny_model(base={"num_hidden_layers": 2}, seed=5)
    with pytest.raises(FingerprintMismatchError, match="another model"):
        ask(store, other)
    key = row_key(store, "collection:")
    set_row(store, key, {**row_value(store, key), "fingerprint": other.fingerprint(4)})
    with MemoryStore.open(store, read_only=True) as opened:
        (name,) = [record.name for record in opened.collections() if record.fingerprint == other.fingerprint(4)]
    # Every memory names its maker as well.
    with pytest.raises(FingerprintMismatchError, match="Memory blob"):
        ask(store, other, name)
    connection = sqlite3.connect(store / "index" / "cache.db")
    with contextlib.closing(connection):
        rows = [row for (row,) in connection.execute("SELECT key FROM Cache WHERE key LIKE 'blob:%'")]
    for row in rows:
        set_row(store, row, {**row_value(store, row), "fingerprint": other.fingerprint(4)})
    with pytest.raises(CorruptBlobError, match="the model expects"):
        ask(store, other, name)


@pytest.mark.parametrize("ratio", [None, "4", True, 0, -1, 10**9, 4.0, [4]])
def test_a_ratio_that_is_none_is_refused(store: Path, model: Any, ratio: Any) -> None:
    for record in MemoryStore.open(store, read_only=True).collections():
        set_row(store, f"collection:{record.uid}", {**record.to_json(), "model": {"ratio": ratio}})
    with pytest.raises((StoreFormatError, FingerprintMismatchError)):
        ask(store, model)


def window_of(store: Path, **fields: Any) -> None:
    key = row_key(store, "document:")
    record = row_value(store, key)
    names = ("key", "start", "end", "tokens", "slots")
    first = dict(zip(names, record["windows"][0], strict=True))
    record["windows"][0] = list({**first, **fields}.values())
    record["slots"] = sum(window[4] for window in record["windows"])
    set_row(store, key, record)
    recount(store, key.split(":")[1])


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"slots": 0}, "never has"),
        ({"tokens": 10**12, "slots": 1}, "never has"),
        ({"tokens": 0, "slots": 0}, "never has"),
        ({"start": 5, "end": 5}, None),
        ({"end": len(TEXT)}, "overlap"),
    ],
)
def test_windows_that_tell_of_other_counts_than_their_memories_have_are_refused(
    store: Path, model: Any, fields: dict[str, Any], match: str | None
) -> None:
    window_of(store, **fields)
    name = next(
        record.name for record in MemoryStore.open(store).collections() if record.uid in row_key(store, "document:")
    )
    if match is None:
        assert ask(store, model, name) is not None
        return
    with pytest.raises(CorruptBlobError, match=match):
        ask(store, model, name)


@pytest.mark.parametrize("characters", [len(TEXT) + 1, 10**15])
def test_texts_of_another_length_than_their_record_tells_are_refused(store: Path, model: Any, characters: int) -> None:
    change_row(store, "document:", characters=characters)
    with MemoryStore.open(store) as opened:
        name = next(record.name for record in opened.collections() if record.uid in row_key(store, "document:"))
    with pytest.raises(CorruptBlobError, match="its text has"):
        ask(store, model, name)


def test_a_few_records_do_not_stand_for_endless_copies_of_a_text(store: Path, model: Any) -> None:
    key = row_key(store, "document:")
    record = row_value(store, key)
    first = [record["windows"][0][0], 0, len(TEXT), *record["windows"][0][3:]]
    set_row(store, key, {**record, "windows": [first] * 50_000, "slots": first[4] * 50_000})
    with pytest.raises(CorruptBlobError, match="counts"):
        ask(store, model, next(record.name for record in MemoryStore.open(store).collections() if record.uid in key))
    recount(store, key.split(":")[1])
    with MemoryStore.open(store) as opened:
        name = next(record.name for record in opened.collections() if record.uid in key)
    with pytest.raises(CorruptBlobError, match="overlap"):
        ask(store, model, name)


def test_a_changed_memory_is_found_at_the_question(store: Path, model: Any) -> None:
    with MemoryStore.open(store, read_only=True) as opened:
        path = blob_path(store, opened.documents("notes")[0].windows[0].key)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptBlobError, match="checksum"):
        ask(store, model)


def test_names_from_a_store_cannot_steer_a_terminal(store: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\r"
    key = row_key(store, "document:")
    record, uid = row_value(store, key), key.split(":")[1]
    with MemoryStore.open(store) as opened:
        name = next(record.name for record in opened.collections() if record.uid == uid)
    other = f"document:{uid}:{evil}"
    run(store, "UPDATE Cache SET key = ? WHERE key = ?", other, key)
    set_row(store, other, {**record, "id": evil, "metadata": {evil: evil}})
    for words in (["show", name], ["ls"], ["search", name, "ferry"], ["verify"]):
        done = CliRunner().invoke(app, ["--store", str(store), *words])
        assert done.exception is None or isinstance(done.exception, SystemExit)
        assert not set(done.output) & set("\x1b\x07\r\u202e"), words
