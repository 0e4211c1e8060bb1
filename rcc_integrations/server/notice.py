"""Servers that are running: each leaves a note in the user's own folder, by which `rcc ask` finds it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
import psutil

_log = logging.getLogger(__name__)

#: Where notes are kept, if not in the user's folder.
_VARIABLE = "RCC_RUN"


@dataclass(frozen=True)
class Notice:
    """A running server.

    Args:
        store: Id of its store.
        path: Folder of its store: a copy of a store has the same id.
        url: Its address.
        key: What it accepts as API key from whoever can read this note.
        pid: Its process.
        model: What `--model`, `--base` were when it was started; a command with others does not use it.
        started: Seconds since 1970.
    """

    store: str
    path: str
    url: str
    key: str
    pid: int
    model: list[str | None]
    started: float


class Note:
    """Writes a server's notice, readable by this user alone, and removes it at the end.

    Notes are not kept in the store: a store from a stranger must not say where questions are sent.

    Args:
        store: Id of the store.
        path: Its folder.
        model: What `--model` and `--base` are.
    """

    def __init__(self, store: str, path: Path, model: list[str | None]) -> None:
        self._store, self._store_path, self._model = store, str(path.resolve()), model
        self.key = secrets.token_urlsafe(24)
        self._path = _folder() / f"{store}-{os.getpid()}.json"

    def write(self, url: str) -> None:
        """Say that the server is up; where that cannot be written, commands do not find it, which is no harm.

        Args:
            url: Its address.
        """
        try:
            self._write(url)
        except OSError as error:
            _log.warning("Commands will not find this server: %s", error)

    def _write(self, url: str) -> None:
        notice = Notice(self._store, self._store_path, url, self.key, os.getpid(), self._model, time.time())
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temp = self._path.with_suffix(".new")
        with open(os.open(temp, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(notice), file)
        os.replace(temp, self._path)

    def remove(self) -> None:
        """Say that it is gone."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def notices(store: str, path: Path, model: list[str | None]) -> list[Notice]:
    """Return the servers on a store that were started with some model, the newest first; some may be gone.

    Args:
        store: Id of the store.
        path: Its folder.
        model: What `--model` and `--base` are.
    """
    found = []
    for note in _folder().glob(f"{store}-*.json"):
        try:
            notice = Notice(**json.loads(note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue
        if not psutil.pid_exists(notice.pid):  # it was killed
            note.unlink(missing_ok=True)
            continue
        same = (notice.store, notice.path, notice.model) == (store, str(path.resolve()), model)
        if same and notice.url.startswith("http://"):
            found.append(notice)
    return sorted(found, key=lambda notice: -notice.started)


def _folder() -> Path:
    named = os.environ.get(_VARIABLE)
    return Path(named) if named else platformdirs.user_state_path("rcc-integrations") / "servers"
