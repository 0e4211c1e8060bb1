from __future__ import annotations

import multiprocessing
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest

from rcc_integrations.errors import ConfigError
from rcc_integrations.memory.routing_index import RoutingIndex

WIDTH = 8


def key(number: int) -> str:
    return blake2b(str(number).encode(), digest_size=32).hexdigest()


def codes(number: int) -> np.ndarray:
    chance = np.random.default_rng(number)
    return chance.integers(-127, 128, (1 + number % 5, WIDTH)).astype(np.int8)


def some(*numbers: int) -> dict[str, np.ndarray]:
    return {key(number): codes(number) for number in numbers}


def held(index: RoutingIndex, *numbers: int) -> list[np.ndarray]:
    starts, counts = index.places([key(number) for number in numbers])
    return [np.array(index.codes[start : start + count]) for start, count in zip(starts, counts, strict=True)]


def check(index: RoutingIndex, *numbers: int) -> None:
    for number, found in zip(numbers, held(index, *numbers), strict=True):
        assert np.array_equal(found, codes(number))


@pytest.fixture(params=["disk", "ram"])
def index(request, tmp_path) -> RoutingIndex:
    return RoutingIndex(tmp_path / "routing" if request.param == "disk" else None, "maker", WIDTH)


def test_codes_come_back_as_they_were_added(index):
    assert len(index) == 0 and index.missing([key(1), key(1), key(2)]) == [key(1), key(2)]
    index.add(some(1, 2, 3))
    index.add(some(4))
    check(index, 3, 1, 4, 2, 1)
    assert index.missing([key(4), key(5)]) == [key(5)]
    assert index.nbytes >= index.codes.nbytes


def test_what_is_there_is_not_added_again(index):
    index.add(some(1, 2))
    rows = len(index.codes)
    index.add(some(2, 1))
    assert len(index.codes) == rows and len(index) == 2


def test_an_unknown_window_is_a_key_error(index):
    with pytest.raises(KeyError):
        index.places([key(9)])


@pytest.mark.parametrize("wrong", [
    {key(1): np.zeros((2, WIDTH + 1), np.int8)},
    {key(1): np.zeros((0, WIDTH), np.int8)},
    {key(1): np.zeros((2, WIDTH), np.int16)},
    {"../x": np.zeros((2, WIDTH), np.int8)},
])  # fmt: skip
def test_other_codes_are_refused_and_nothing_is_written(index, wrong):
    with pytest.raises(ConfigError, match="Routing codes must be int8"):
        index.add({**some(2), **wrong})
    assert len(index) == 0


def test_another_process_sees_what_was_added(tmp_path):
    writer, reader = (RoutingIndex(tmp_path, "maker", WIDTH) for _ in range(2))
    writer.add(some(1))
    assert len(reader) == 0
    reader.refresh()
    check(reader, 1)
    reader.add(some(2, 1))
    writer.refresh()
    check(writer, 1, 2)
    check(RoutingIndex(tmp_path, "maker", WIDTH), 2, 1)


def test_small_additions_read_only_what_is_new(tmp_path):
    index = RoutingIndex(tmp_path, "maker", WIDTH)
    index.add(some(*range(50)))
    size = (tmp_path / "codes-1").stat().st_size
    index.add(some(50))
    assert (tmp_path / "codes-1").stat().st_size == size + codes(50).nbytes
    assert (tmp_path / "entries-1").stat().st_size == 51 * 60


@pytest.mark.parametrize("other", [("another", WIDTH), ("maker", WIDTH * 2)])
def test_codes_of_another_model_count_as_missing_and_are_replaced(tmp_path, other):
    RoutingIndex(tmp_path, "maker", WIDTH).add(some(1))
    index = RoutingIndex(tmp_path, *other)
    assert index.missing([key(1)]) == [key(1)]
    fresh = np.ones((2, other[1]), np.int8)
    index.add({key(7): fresh})
    assert np.array_equal(index.codes, fresh)
    assert len(list(tmp_path.glob("codes-*"))) == 1
    # Whoever has the old one open goes on reading it, and notices when it looks again.
    assert len(RoutingIndex(tmp_path, "maker", WIDTH)) == 0


@pytest.mark.parametrize("cut", range(1, 130, 7))
def test_entries_that_were_cut_off_are_missing(tmp_path, cut):
    index = RoutingIndex(tmp_path, "maker", WIDTH)
    index.add(some(1, 2))
    with (tmp_path / "entries-1").open("r+b") as file:
        file.truncate(120 - min(cut, 120))
    again = RoutingIndex(tmp_path, "maker", WIDTH)
    kept = [number for number in (1, 2) if not again.missing([key(number)])]
    assert len(kept) == (120 - min(cut, 120)) // 60
    check(again, *kept)
    again.add(some(1, 2, 3))
    check(again, 1, 2, 3)
    check(RoutingIndex(tmp_path, "maker", WIDTH), 1, 2, 3)


@pytest.mark.parametrize("name", ["codes-1", "entries-1"])
def test_no_damaged_code_is_ever_given_out(tmp_path, name):
    RoutingIndex(tmp_path, "maker", WIDTH).add(some(*range(6)))
    path = tmp_path / name
    sound = path.read_bytes()
    for place in range(0, len(sound), 3):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        index = RoutingIndex(tmp_path, "maker", WIDTH)
        kept = [number for number in range(6) if not index.missing([key(number)])]
        assert len(kept) == 5 and index.damaged == 1
        check(index, *kept)


def test_codes_cut_off_behind_sound_entries_are_missing(tmp_path):
    RoutingIndex(tmp_path, "maker", WIDTH).add(some(1, 2, 3))
    path = tmp_path / "codes-1"
    path.write_bytes(path.read_bytes()[: codes(1).nbytes + 3])
    index = RoutingIndex(tmp_path, "maker", WIDTH)
    assert index.missing([key(number) for number in (1, 2, 3)]) == [key(2), key(3)]
    index.add(some(2, 3))
    check(RoutingIndex(tmp_path, "maker", WIDTH), 1, 2, 3)


@pytest.mark.parametrize("header", [b"", b"{", b"[]", b'{"format": 1}', b"\xff", b'{"generation": "1"}'])
def test_a_damaged_header_is_an_index_that_is_missing(tmp_path, header):
    RoutingIndex(tmp_path, "maker", WIDTH).add(some(1))
    (tmp_path / "header.json").write_bytes(header)
    index = RoutingIndex(tmp_path, "maker", WIDTH)
    assert len(index) == 0
    index.add(some(2))
    check(RoutingIndex(tmp_path, "maker", WIDTH), 2)


def test_compacting_keeps_what_is_needed_and_disturbs_no_reader(tmp_path):
    index = RoutingIndex(tmp_path, "maker", WIDTH)
    index.add(some(*range(20)))
    reader = RoutingIndex(tmp_path, "maker", WIDTH)
    assert not index.compact([key(number) for number in range(15)])
    assert index.compact([key(number) for number in range(4)])
    check(index, 0, 1, 2, 3)
    assert len(index) == 4 and len(index.codes) == sum(len(codes(number)) for number in range(4))
    check(reader, *range(20))
    reader.refresh()
    check(reader, 0, 1, 2, 3)
    assert len(reader) == 4
    reader.add(some(9))
    index.refresh()
    check(index, 9)


def test_a_removed_index_is_made_anew(tmp_path):
    folder = tmp_path / "routing"
    index = RoutingIndex(folder, "maker", WIDTH)
    index.add(some(1))
    index.remove()
    assert not folder.exists() and len(index) == 0
    index.add(some(2))
    check(index, 2)


def _add(folder: Path, first: int) -> None:
    index = RoutingIndex(folder, "maker", WIDTH)
    for number in range(first, first + 40):
        index.add(some(number, number + 20))


def test_writers_take_turns(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add, args=(tmp_path, first)) for first in (0, 20, 40)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    index = RoutingIndex(tmp_path, "maker", WIDTH)
    assert index.damaged == 0 and len(index) == 100
    check(index, *range(100))
