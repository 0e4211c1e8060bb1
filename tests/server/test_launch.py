"""The process: signals, kills, a second server, commands beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.reader import RCCReader
from tests.server.conftest import TEXTS

ROOT = Path(__file__).parents[2]


class Served:
    """`rcc serve` in a process of its own."""

    def __init__(self, store: Path, model: Path, run: Path, *more: str) -> None:
        self.env = {**os.environ, "RCC_RUN": str(run), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.base = [
            sys.executable,
            "-m",
            "rcc_integrations.cli",
            "--store",
            str(store),
            "--model",
            str(model),
            "--device",
            "cpu",
        ]
        self.process = subprocess.Popen(
            [*self.base, "serve", "--port", "0", *more], stdout=subprocess.PIPE, text=True, env=self.env
        )
        self.url = (self.process.stdout.readline() or "").split()[0]

    def rcc(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [*self.base, *arguments], capture_output=True, text=True, env=self.env, input=stdin, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def end(self, how: int = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        code = self.process.wait(120)
        self.process.stdout.close()
        return code


@pytest.fixture
def store(tmp_path, model):
    with RCCReader.open(tmp_path / "memory", model=model) as reader:
        reader.add("handbook", TEXTS)
    return tmp_path / "memory"


def test_a_server_its_commands_and_its_end(store, saved_model, tmp_path, model):
    server = Served(store, saved_model, tmp_path / "run")
    try:
        notes = list((tmp_path / "run").glob("*.json"))
        assert len(notes) == 1 and notes[0].stat().st_mode & 0o077 == 0
        # `rcc ask` is answered by the server: `/api/status` counts it.
        answer = json.loads(server.rcc("ask", "handbook", "Who approves leave?", "--max-new-tokens", "6", "--json"))
        with RCCReader.open(store, model=model) as reader:
            expected = reader.ask("handbook", "Who approves leave?", max_new_tokens=6)
        assert answer["text"] == expected.text and set(answer) == set(expected.to_dict())
        assert httpx.get(f"{server.url}/api/status").json()["answered"] == 1
        said = server.rcc("chat", "handbook", "--free", "--max-new-tokens", "6",
                          stdin="Who approves leave?\n/sources\n/why\nAnd when?\n/history\n/quit\n")  # fmt: skip
        assert "leave.md, characters 0-" in said and "Confidence" in said
        assert httpx.get(f"{server.url}/api/status").json()["answered"] == 3
        # `rcc add` beside a server is seen by it at once.
        (tmp_path / "bell.md").write_text("The bell rings twice.", encoding="utf-8")
        server.rcc("add", "isle", str(tmp_path / "bell.md"))
        assert [each["name"] for each in httpx.get(f"{server.url}/api/collections").json()] == ["handbook", "isle"]
        # A second server on the same store.
        second = Served(store, saved_model, tmp_path / "run")
        assert second.url != server.url
        assert httpx.get(f"{second.url}/api/collections/isle").json()["documents"] == 1
        assert second.end() == 0
    finally:
        code = server.end()
    assert code == 0 and not list((tmp_path / "run").glob("*.json"))
    with MemoryStore.open(store) as opened:
        assert opened.verify().ok


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_ended_while_adding_the_store_is_whole(store, saved_model, tmp_path, how):
    server = Served(store, saved_model, tmp_path / "run")
    files = [("files", (f"note {n}.txt", f"Note {n}. ".encode() + b"The bell rings twice. " * 400)) for n in range(60)]
    job = httpx.post(f"{server.url}/api/collections/notes/files", files=files, timeout=300).json()
    with httpx.stream("GET", f"{server.url}/api/jobs/{job['id']}/events", timeout=300) as events:
        for line in events.iter_lines():
            if line.startswith("data: ") and json.loads(line[6:])["tokens"]:
                break
    server.end(how)
    with MemoryStore.open(store) as opened:
        report = opened.verify()
        assert not report.damaged and {problem.kind for problem in report.problems} <= {
            "unreferenced",
            "leftover",
            "file-without-row",
        }
        assert opened.documents("handbook")


def test_a_port_that_is_taken_is_said(store, saved_model, tmp_path, server):
    port = server.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "rcc_integrations.cli", "--store", str(store), "--model", str(saved_model), "serve", "--port", port],
        capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1 and "cannot be listened on" in done.stderr
