from __future__ import annotations

import shutil
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from rcc_integrations.memory.routing_index import RoutingIndex
from rcc_integrations.memory.store import MemoryStore


@pytest.fixture
def store(tmp_path):
    with MemoryStore.open(tmp_path / "memory") as opened:
        record = opened.create_collection("holm", fingerprint="f" * 32, model={"ratio": 4})
        index = RoutingIndex(opened.routing_folder(record.uid), "maker", 8)
        keys = [blake2b(str(number).encode(), digest_size=32).hexdigest() for number in range(4)]
        index.add({key: np.full((3, 8), number, np.int8) for number, key in enumerate(keys)})
        yield opened


def folder(store: MemoryStore) -> Path:
    return next((store.path / "routing").iterdir())


def test_a_sound_index_is_no_problem_and_is_counted(store):
    assert store.verify().ok
    size = sum(path.stat().st_size for path in folder(store).iterdir())
    assert store.stats().routing_bytes == size > 4 * 3 * 8


@pytest.mark.parametrize("name", ["codes-1", "entries-1", "header.json"])
def test_damage_is_named_and_put_aside(store, name):
    place = folder(store)
    data = bytearray((place / name).read_bytes())
    data[len(data) // 2] ^= 0x40
    (place / name).write_bytes(bytes(data))
    (problem,) = store.verify().problems
    assert problem.kind == "routing-index" and problem.where == f"routing/{place.name}" and not problem.repaired
    (told,) = store.verify(repair=True, dry_run=True).problems
    assert place.exists() and not told.repaired and "lost+found" in told.action
    (repaired,) = store.verify(repair=True).problems
    assert repaired.repaired and not place.exists()
    (moved,) = (store.path / "lost+found").glob(f"*/routing/{place.name}/{name}")
    assert moved.read_bytes() == bytes(data)
    assert store.verify().ok


def test_the_index_of_no_collection_is_put_aside(store):
    place = folder(store)
    shutil.copytree(place, place.with_name("0" * len(place.name)))
    (problem,) = store.verify(repair=True).problems
    assert "does not exist" in problem.what and problem.repaired
    assert folder(store) == place


def test_a_link_among_the_indices_is_not_followed(store, tmp_path):
    (store.path / "routing" / "elsewhere").symlink_to(tmp_path)
    (problem,) = store.verify(repair=True).problems
    assert problem.repaired and tmp_path.exists() and not (store.path / "routing" / "elsewhere").exists()
