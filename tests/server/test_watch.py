"""Watched folders."""

from __future__ import annotations

import os
import time

import pytest

pytest.importorskip("watchfiles")

from rcc_integrations.errors import ConfigError, UnknownCollectionError
from rcc_integrations.server.watch import Watch


def until(server, wanted: dict[str, str]) -> None:
    end = time.monotonic() + 200
    found = None
    while time.monotonic() < end:
        try:
            found = {each.id: server.reader.text("docs", each.id) for each in server.reader.documents("docs")}
        except UnknownCollectionError:
            found = None
        if found == wanted:
            return
        time.sleep(0.05)
    raise AssertionError(found)


def write(path, text: str, *, age: float = 5.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - age, time.time() - age))


def test_a_collection_follows_its_folder(start, tmp_path):
    folder = tmp_path / "docs"
    write(folder / "a.md", "The bell rings twice.")
    server = start(None, watches=[Watch(folder, "docs")])
    until(server, {"a.md": "The bell rings twice."})
    server.reader.add("docs", {"by hand.md": "This came another way."})
    write(folder / "sub" / "b.md", "Nobody sails in a storm.")
    write(folder / "a.md", "The bell is silent.")
    until(server, {"a.md": "The bell is silent.", "by hand.md": "This came another way.",
                   "sub/b.md": "Nobody sails in a storm."})  # fmt: skip
    (folder / "a.md").unlink()
    until(server, {"by hand.md": "This came another way.", "sub/b.md": "Nobody sails in a storm."})


def test_a_file_that_is_being_written_is_waited_for(start, tmp_path):
    folder = tmp_path / "docs"
    folder.mkdir()
    server = start(None, watches=[Watch(folder, "docs")])
    with open(folder / "slow.md", "w", encoding="utf-8") as file:
        for part in range(12):
            file.write(f"Part {part} of the story. ")
            file.flush()
            time.sleep(0.1)
            with pytest.raises(UnknownCollectionError):
                server.reader.documents("docs")
    until(server, {"slow.md": "".join(f"Part {part} of the story. " for part in range(12))})


def test_a_folder_that_is_away_takes_nothing_with_it(start, tmp_path):
    folder = tmp_path / "docs"
    write(folder / "a.md", "The bell rings twice.")
    watch = Watch(folder, "docs")
    server = start(None, watches=[watch])
    until(server, {"a.md": "The bell rings twice."})
    folder.rename(tmp_path / "away")
    time.sleep(1)
    until(server, {"a.md": "The bell rings twice."})


def test_what_is_watched_is_said_on_the_command_line(tmp_path):
    (tmp_path / "a=b").mkdir()
    watch = Watch.parse(f"{tmp_path / 'a=b'}=handbook")
    assert (watch.folder, watch.collection) == (tmp_path / "a=b", "handbook")
    assert Watch.parse(str(tmp_path)).collection == tmp_path.name
    with pytest.raises(ConfigError, match="no folder"):
        Watch.parse(f"{tmp_path / 'none'}=handbook")
