"""What every test of this folder asserts beside its own: nothing outside was read, changed or run."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SECRET = "the secret of the harbour is 7391"

_STARTS = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect"}
_LOOKS = {"open", "os.listdir", "os.scandir"}


class Outside:
    """A folder beside the one that a stranger gave, which nothing may touch.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path
        self.secret = path / "secret.txt"
        self.secret.write_text(SECRET)
        (path / "ab").mkdir()
        (path / "ab" / f"{'ab' * 32}.txt").touch()
        self.canary = path / "canary"
        self.events: list[tuple[Any, ...]] = []
        self._before = contents(path)

    def check(self) -> None:
        """Assert that nothing here was looked at or changed, and no program or pickle run."""
        assert self.events == []
        assert contents(self.path) == self._before

    def hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Take an audit event of the interpreter."""
        if event in _STARTS:
            self.events.append((event, *map(str, args)))
        elif event in _LOOKS and isinstance(args[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(args[0]))
            if os.path.commonpath([path, self.path]) == str(self.path):
                self.events.append((event, path))


class Payload:
    """Leaves a folder where it is unpickled.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Return mode and hash of everything under a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = (path.lstat().st_mode, hashlib.sha256(data).hexdigest())
    return found


_listening: list[Outside] = []


def _hear(event: str, args: tuple[Any, ...]) -> None:
    # Called for every event of the process, and never to be taken away again.
    if _listening and (event in _LOOKS or event in _STARTS):
        _listening[0].hear(event, args)


@pytest.fixture(scope="session")
def _audited() -> None:
    sys.addaudithook(_hear)


@pytest.fixture
def outside(tmp_path: Path, _audited: None) -> Iterator[Outside]:
    """A folder with a secret that the test must leave alone."""
    outside = Outside(tmp_path / "outside")
    _listening.append(outside)
    try:
        yield outside
    finally:
        _listening.clear()
    outside.check()
