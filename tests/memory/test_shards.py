from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rcc_integrations.errors import CorruptBlobError, InvalidNameError, StoreError, StoreFormatError
from rcc_integrations.memory.shards import TEMP_PREFIX, ShardFolder
from tests.memory.conftest import key_for

KEY = key_for("a")


@pytest.fixture
def shards(tmp_path: Path) -> ShardFolder:
    return ShardFolder(tmp_path / "blobs", ".bin")


def put(shards: ShardFolder, key: str, data: bytes) -> None:
    shards.place(shards.write_temp(key, data), key)
    shards.sync([key])


def test_what_is_put_is_read(shards: ShardFolder) -> None:
    assert shards.size(KEY) is None and list(shards.files()) == []
    put(shards, KEY, b"hello")
    assert shards.path(KEY) == shards.root / KEY[:2] / f"{KEY}.bin"
    assert shards.read(KEY) == b"hello" and shards.size(KEY) == 5
    assert list(shards.files()) == [(shards.path(KEY), KEY)]
    put(shards, KEY, b"again")
    assert shards.read(KEY) == b"again"
    shards.remove(KEY)
    shards.remove(KEY)
    assert shards.size(KEY) is None
    with pytest.raises(FileNotFoundError):
        shards.read(KEY)


def test_a_temporary_file_is_known_as_one_and_is_not_the_file(shards: ShardFolder) -> None:
    temp = shards.write_temp(KEY, b"x")
    assert temp.name.startswith(f"{TEMP_PREFIX}{os.getpid()}-") and temp.parent == shards.path(KEY).parent
    assert shards.size(KEY) is None and list(shards.files()) == [(temp, None)]
    shards.discard(temp)
    shards.discard(temp)
    assert list(shards.files()) == []


def test_a_temporary_file_that_is_gone_says_so(shards: ShardFolder) -> None:
    temp = shards.write_temp(KEY, b"x")
    temp.unlink()
    with pytest.raises(StoreError, match="removed meanwhile"):
        shards.place(temp, KEY)


@pytest.mark.parametrize(
    "key", ["", "../../../etc/passwd", KEY.upper(), KEY[:-1], KEY + "0", f"{KEY[:-1]}/", KEY + "\n"]
)
def test_only_keys_become_paths(shards: ShardFolder, key: str) -> None:
    for action in (shards.path, shards.size, shards.read, shards.remove):
        with pytest.raises(InvalidNameError):
            action(key)


def test_links_are_not_followed(shards: ShardFolder, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    shards.path(KEY).parent.mkdir(parents=True)
    shards.path(KEY).symlink_to(secret)
    assert shards.size(KEY) is None and list(shards.files()) == [(shards.path(KEY), None)]
    with pytest.raises(CorruptBlobError, match="not a plain file"):
        shards.read(KEY)
    put(shards, KEY, b"mine")
    assert shards.read(KEY) == b"mine" and secret.read_bytes() == b"secret"


@pytest.mark.parametrize("level", ["root", "shard"])
def test_linked_folders_are_neither_read_nor_written_nor_emptied(
    shards: ShardFolder, tmp_path: Path, level: str
) -> None:
    other = ShardFolder(tmp_path / "other", ".bin")
    put(other, KEY, b"not yours")
    if level == "root":
        shards.root.symlink_to(other.root)
    else:
        shards.root.mkdir()
        shards.path(KEY).parent.symlink_to(other.path(KEY).parent)
    assert shards.size(KEY) is None
    assert [key for _, key in shards.files()] == [None]
    with pytest.raises(CorruptBlobError, match="not followed"):
        shards.read(KEY)
    with pytest.raises(StoreFormatError, match="is a link"):
        shards.write_temp(KEY, b"x")
    shards.remove(KEY)
    assert other.read(KEY) == b"not yours"


def test_a_pipe_does_not_block(shards: ShardFolder) -> None:
    shards.path(KEY).parent.mkdir(parents=True)
    os.mkfifo(shards.path(KEY))
    with pytest.raises(CorruptBlobError, match="not a plain file"):
        shards.read(KEY)


def test_no_room_leaves_nothing_behind(shards: ShardFolder) -> None:
    program = f"""
import resource, sys
from pathlib import Path
from rcc_integrations.errors import StoreFullError
from rcc_integrations.memory.shards import ShardFolder
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
shards = ShardFolder(Path({str(shards.root)!r}), ".bin")
try:
    shards.write_temp({KEY!r}, bytes(5000))
except StoreFullError as error:
    sys.exit(0 if "5,000 bytes" in str(error) else 2)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
    assert list(shards.files()) == []
