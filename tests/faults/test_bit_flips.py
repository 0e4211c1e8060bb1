"""Bits that change at random places of memories, texts and index.

The long form: `python -m pytest --slow tests/faults/test_bit_flips.py`.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rcc_integrations import RCCReader
from rcc_integrations.document import Document
from rcc_integrations.errors import CorruptBlobError, RCCError, StoreError
from rcc_integrations.memory.quantization import decode
from rcc_integrations.memory.store import MemoryStore
from tests.faults.support import open_reader, text_of

PARTS = ("blobs", "texts", "index")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store: two collections, documents that share windows and texts."""
    path, chance = tmp_path_factory.mktemp("flips") / "store", random.Random(5)
    with open_reader(path) as reader:
        texts = {f"d{number}.md": text_of(chance, 3) for number in range(6)}
        reader.add("boats", {**texts, "twin.md": texts["d0.md"]})
        reader.add("ünïcödé", {"d.md": texts["d1.md"], "e.md": "日本語のテキスト。😀 The gate is open."}, ratio=2)
        reader.store.update_document("boats", "d1.md", metadata={"title": "Boats", "pages": [1, 2, 3]})
        reader.delete("boats", ["d5.md"])
    return path


def content(store: MemoryStore) -> Any:
    """Return all that a store says, as its callers see it; times apart."""
    found: list[Any] = []
    texts, blobs = set(), set()
    for record in store.collections():
        snapshot = store.snapshot(record.name)
        found.append(snapshot)
        texts |= {document.text_key for document in snapshot.documents}
        blobs |= {key for document in snapshot.documents for key in document.keys}
    found += [store.text(key) for key in sorted(texts)]
    # A memory is checked against the index when it is read.
    found += [[tensor.shape for tensor in store.get_blob(key).values()] for key in sorted(blobs)]
    found.append(replace(store.stats(), index_bytes=0))
    return found


@contextmanager
def flipped(path: Path, place: int) -> Iterator[None]:
    """Change one bit of a file, and change it back."""

    def flip() -> None:
        with open(path, "r+b") as file:
            file.seek(place // 8)
            (byte,) = file.read(1)
            file.seek(place // 8)
            file.write(bytes([byte ^ 1 << place % 8]))

    flip()
    try:
        yield
    finally:
        flip()


def forget_log(path: Path) -> None:
    """Remove what SQLite keeps beside a database; it holds nothing of a store that was closed."""
    for name in ("cache.db-wal", "cache.db-shm"):
        (path / "index" / name).unlink(missing_ok=True)


def found_by_reading(path: Path, good: Any) -> str:
    """Return what becomes of a flip when everything is read: `refused`, `harmless` or `changed`."""
    try:
        with MemoryStore.open(path, read_only=True) as store:
            return "harmless" if content(store) == good else "changed"
    except RCCError:
        return "refused"


def found_by_verify(path: Path) -> bool:
    try:
        with MemoryStore.open(path, read_only=True) as store:
            return not store.verify().ok
    except StoreError:
        return True


@pytest.mark.parametrize("flips", [1000, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(7200)])])
def test_a_flipped_bit_is_found_or_does_not_matter(sound: Path, tmp_path: Path, flips: int) -> None:
    path, beside = (shutil.copytree(sound, tmp_path / name) for name in ("store", "beside"))
    chance, seen = random.Random(flips), Counter[tuple[str, bool | None]]()
    with MemoryStore.open(path, read_only=True) as store:
        good = content(store)
        files = {part: sorted(file for file in (path / part).rglob("*") if file.is_file()) for part in PARTS[:2]}
        read = {"blobs": store.get_blob, "texts": store.text}
        for number in range(flips * 2 // 3):
            part = PARTS[number % 2]
            file = chance.choice(files[part])
            with flipped(file, chance.randrange(8 * file.stat().st_size)), pytest.raises(CorruptBlobError):
                read[part](file.stem)
        assert content(store) == good
    database = beside / "index" / "cache.db"
    for number in range(flips // 3):
        place = chance.randrange(8 * database.stat().st_size)
        with flipped(database, place):
            what = found_by_reading(beside, good)
            # What is read in spite of a flip must be right, or the flip known to a check; both are asked now and then.
            noticed = found_by_verify(beside) if what == "changed" or number % 20 == 0 else None
            assert what != "changed" or noticed, place
            seen[what, noticed] += 1
        forget_log(beside)
    assert found_by_reading(beside, good) == "harmless"
    assert sum(count for (what, _), count in seen.items() if what == "refused") > flips // 30


def documents(reader: RCCReader) -> dict[tuple[str, str], Any]:
    """Return what documents are in themselves: text, and all of the record but its place and times."""
    return {
        (record.name, one.id): (reader.text(record.name, one.id), [*one.to_json().values()][3:9])
        for record in reader.collections()
        for one in reader.documents(record.name)
    }


def check_memories(reader: RCCReader, sound: Path) -> None:
    """Compare memories with those of the sound store; what is compressed in another batch differs by roundings."""
    keys = {key for record in reader.collections() for one in reader.documents(record.name) for key in one.keys}
    with MemoryStore.open(sound, read_only=True) as store:
        for key in keys:
            good, found = decode(store.get_blob(key)), decode(reader.store.get_blob(key))
            for name, tensor in good.items():
                torch.testing.assert_close(found[name], tensor, rtol=0, atol=float(0.02 * tensor.abs().max()))


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("flips", [4, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
def test_a_repair_rebuilds_what_can_be_rebuilt_and_names_the_rest(
    sound: Path, tmp_path: Path, part: str, flips: int
) -> None:
    with open_reader(sound) as reader:
        good = documents(reader)
        ratios = {record.name: record.model["ratio"] for record in reader.collections()}
    chance, results = random.Random(part), Counter[str]()
    for number in range(flips):
        path = shutil.copytree(sound, tmp_path / str(number))
        forget_log(path)
        file = chance.choice(sorted(file for file in (path / part).rglob("*") if file.is_file()))
        with open(file, "r+b") as opened:
            data = bytearray(opened.read())
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            opened.seek(0)
            opened.write(data)
        MemoryStore.recover(path)
        with open_reader(path) as reader:
            report = reader.verify(repair=True, grace=0)
            lost = {(one.collection, one.document) for one in report.damaged}
            if part == "blobs":
                assert report.ok and report.problems and not lost
            if report.ok:
                assert documents(reader) == good
                check_memories(reader, sound)
                results["whole"] += 1
            else:
                for collection, document in lost:
                    text, record = good[collection, document]
                    # As whoever adds the same source again: with the same digest.
                    again = Document(document, text, digest=record[4], metadata=record[5])
                    reader.add(collection, [again], ratio=ratios[collection])
                assert documents(reader) == good
                assert reader.verify(repair=True, grace=0).ok
                results["named"] += 1
        shutil.rmtree(path)
    assert results["named" if part == "texts" else "whole"] > 0


def test_a_changed_bit_of_a_row_is_put_right(sound: Path, tmp_path: Path) -> None:
    """Metadata are nowhere else: what the row's checksum tells is all there is."""
    path = shutil.copytree(sound, tmp_path / "store")
    database = path / "index" / "cache.db"
    data = database.read_bytes()
    place = data.index(b'"title":"Boats"') + len(b'"title":"')
    with open_reader(path) as reader:
        good = documents(reader)
    for bit in (0, 4, 7):
        changed = bytearray(database.read_bytes())
        changed[place] ^= 1 << bit
        database.write_bytes(changed)
        with open_reader(path) as reader:
            with pytest.raises(StoreError, match="rcc verify --repair"):
                reader.documents("boats")
            report = reader.verify()
            assert [problem.kind for problem in report.problems if "document:" in problem.where] == ["record"]
            report = reader.verify(repair=True, grace=0)
            assert report.ok and [problem.repaired for problem in report.problems] == [True]
            assert documents(reader) == good


def test_a_lost_document_is_named_beside_one_that_is_compressed_again(sound: Path, tmp_path: Path) -> None:
    path = shutil.copytree(sound, tmp_path / "store")
    shutil.rmtree(path / "backup")
    with open_reader(path) as reader:
        good = documents(reader)
    shutil.rmtree(path / "backup", ignore_errors=True)
    connection = sqlite3.connect(path / "index" / "cache.db")
    with connection:
        connection.execute("UPDATE Cache SET value = replace(value, 'order', 'ordre') WHERE key LIKE '%:d2.md'")
    connection.close()
    lost = ("boats", "d2.md")
    with MemoryStore.open(sound, read_only=True) as store:
        keys = [store.document("boats", name).keys for name in ("d1.md", "d2.md")]
    broken = min(keys[0] - keys[1])
    (path / "blobs" / broken[:2] / f"{broken}.safetensors").write_bytes(b"")
    with open_reader(path) as reader:
        report = reader.verify(repair=True, grace=0)
        assert [(one.collection, one.document) for one in report.damaged] == [lost] and not report.ok
        again = {problem.where for problem in report.problems if "compressed again from" in problem.what}
        assert "boats/d1.md" in again and "boats/d2.md" not in again
        assert documents(reader) == {name: one for name, one in good.items() if name != lost}
        reader.add("boats", {"d2.md": good[lost][0]})
        assert reader.verify(grace=0).ok and documents(reader).keys() == good.keys()
