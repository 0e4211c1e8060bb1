"""`rcc` as a process of its own: imports, signals, pipes and terminals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from array import array
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.cli.conftest import Rcc

RCC = [sys.executable, "-c", "from rcc_integrations.cli import main; main()"]
IMPORTS = """
import atexit, json, sys
names = sys.argv.pop(1).split(",")
atexit.register(lambda: print(json.dumps([name for name in names if name in sys.modules]), file=sys.stderr))
from rcc_integrations.cli import main
main()
"""


def environment(**more: str) -> dict[str, str]:
    hidden = ("RCC_STORE", "RCC_MODEL", "NO_COLOR", "FORCE_COLOR")
    return {name: value for name, value in os.environ.items() if name not in hidden} | {"TERM": "xterm", **more}


def on_terminal(*arguments: object, stdin: bytes = b"", **more: str) -> tuple[int, bytes]:
    """Run `rcc` on a terminal of its own; return its exit code and everything it wrote."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*RCC, *map(str, arguments)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(**more)
    )
    os.close(theirs)
    if stdin:
        os.write(ours, stdin)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        written += piece
    os.close(ours)
    return process.wait(60), written


def imported(names: str, *arguments: object) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, names, *map(str, arguments)], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stderr.splitlines()[-1])
    return found


def test_the_entry_point_is_main() -> None:
    from rcc_integrations.cli import main

    scripts = [one for one in entry_points(group="console_scripts") if one.name == "rcc"]
    assert scripts and all(one.load() is main for one in scripts)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["add", "--help"]])
def test_help_is_light(arguments: list[str]) -> None:
    assert imported("torch,transformers,diskcache", *arguments) == []


def test_ls_needs_no_transformers(made_store: Path) -> None:
    # diskcache is needed, which shows that this sees what is imported.
    assert imported("transformers,peft,bm25s,diskcache", "--store", made_store, "ls") == ["diskcache"]


def test_errors_are_plain_lines_off_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run([*RCC, "--store", tmp_path / "no", "ls"], capture_output=True, text=True, env=environment())
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("Error: There is no memory store in") and done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_no_color_is_respected(tmp_path: Path) -> None:
    code, coloured = on_terminal("--store", tmp_path / "no", "ls")
    assert code == 1 and b"31m" in coloured
    code, plain = on_terminal("--store", tmp_path / "no", "ls", NO_COLOR="1")
    assert code == 1 and b"31m" not in plain and b"Error: " in plain


def test_a_collection_is_removed_after_asking(filled: Rcc) -> None:
    code, written = on_terminal("--store", filled.store, "rm", "isle", stdin=b"n\n")
    assert code == 1 and b"Remove collection 'isle' with 3 documents? [y/N]" in written
    assert len(filled.json("ls")["collections"]) == 1
    code, _ = on_terminal("--store", filled.store, "rm", "isle", stdin=b"y\n")
    assert code == 0 and filled.json("ls")["collections"] == []


def test_a_missing_question_on_a_terminal_is_a_usage_error(made_store: Path) -> None:
    code, written = on_terminal("--store", made_store, "ask", "isle")
    assert code == 2 and b"QUESTION" in written


def test_add_draws_its_progress_on_standard_error(rcc: Rcc, docs: Path) -> None:
    code, written = on_terminal("--store", rcc.store, "--model", rcc.model, "--device", "cpu", "add", "isle", docs)
    assert code == 0 and b"3/3" in written and b"isle: 3 added" in written
    assert b"Traceback" not in written and b"Loading weights" not in written


@pytest.mark.skipif(not hasattr(fcntl, "F_SETPIPE_SZ"), reason="needs pipes whose size can be set")
def test_ctrl_c_stops_an_answer(made_store: Path, saved_model: Path) -> None:
    line = ["--store", made_store, "--model", saved_model, "--device", "cpu", "ask", "isle", "When?"]
    ours, theirs = os.pipe()
    # Room for the first few pieces alone: the answer cannot be at its end before it is interrupted.
    filled = fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, 4096) - 64
    os.write(theirs, b"." * filled)
    process = subprocess.Popen(
        [*RCC, *map(str, line), "--max-new-tokens", "900"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=environment(),
        # A shell that runs the tests in the background has them ignore the signal, and their children with them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(theirs)
    while process.poll() is None and _waiting_bytes(ours) == filled:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    with open(ours, "rb") as reading:
        out = reading.read()[filled:]
    _, err = process.communicate(timeout=60)
    assert out and process.returncode == 130
    assert b"Interrupted." in err and b"Traceback" not in err
    assert b"first token" not in out


def _waiting_bytes(pipe: int) -> int:
    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


def test_a_reader_that_goes_away_is_no_failure_to_shout_about(made_store: Path) -> None:
    line = f"exec {sys.executable} -c '{RCC[2]}' --store '{made_store}' show isle --json"
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(["sh", "-c", line], stdout=theirs, stderr=subprocess.PIPE, env=environment())
    os.close(theirs)
    assert done.returncode == 0 and done.stderr == b""


def test_an_encoding_that_lacks_a_character_ends_nothing(rcc: Rcc, tmp_path: Path) -> None:
    (tmp_path / "ä日.txt").write_text("Grüße", encoding="utf-8")
    assert rcc("add", "日", tmp_path / "ä日.txt").exit_code == 0
    narrow = environment(PYTHONIOENCODING="ascii")
    done = subprocess.run([*RCC, "--store", rcc.store, "show", "日"], capture_output=True, env=narrow)
    assert done.returncode == 0 and b"??.txt" in done.stdout
    done = subprocess.run([*RCC, "--store", rcc.store, "ls", "--json"], capture_output=True, env=narrow)
    assert json.loads(done.stdout)["collections"][0]["name"] == "日"
