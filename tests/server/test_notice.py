"""How commands find a server."""

from __future__ import annotations

import json
import os

import pytest

from rcc_integrations.server.client import ServerClient
from rcc_integrations.server.notice import Note, notices


@pytest.fixture(autouse=True)
def run_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RCC_RUN", str(tmp_path / "run"))
    return tmp_path / "run"


def test_a_server_is_found_by_store_folder_and_model(start, tmp_path):
    server = start()
    store = server.reader.store
    note = Note(store.id, store.path, ["m", None])
    note.write(server.url)
    found = ServerClient.find(store.id, store.path, ["m", None])
    assert found is not None and found.notice.url == server.url
    assert [each["name"] for each in found.collections()] == ["handbook"]
    # A copy of a store has its id, and is another store.
    assert ServerClient.find(store.id, tmp_path / "copy", ["m", None]) is None
    assert ServerClient.find(store.id, store.path, [None, "base"]) is None
    note.remove()
    assert ServerClient.find(store.id, store.path, ["m", None]) is None


def test_one_that_was_killed_is_forgotten(tmp_path, run_folder):
    Note("s", tmp_path, [None, None]).write("http://127.0.0.1:1")
    (path,) = run_folder.glob("*.json")
    notice = json.loads(path.read_text())
    assert notice["pid"] == os.getpid() and path.stat().st_mode & 0o077 == 0
    assert len(notices("s", tmp_path, [None, None])) == 1
    assert ServerClient.find("s", tmp_path, [None, None]) is None  # nobody listens there
    path.write_text(json.dumps({**notice, "pid": 2**22 + 1}))
    assert notices("s", tmp_path, [None, None]) == [] and not path.exists()


def test_damaged_notes_and_folders_that_cannot_be_written_do_no_harm(tmp_path, run_folder, monkeypatch):
    run_folder.mkdir()
    (run_folder / "s-1.json").write_text("{")
    (run_folder / "s-2.json").write_text('{"store": "s"}')
    assert notices("s", tmp_path, [None, None]) == []
    monkeypatch.setenv("RCC_RUN", str(tmp_path / "file" / "run"))
    (tmp_path / "file").write_text("")
    Note("s", tmp_path, [None, None]).write("http://127.0.0.1:1")
