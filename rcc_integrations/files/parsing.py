"""Parses documents in a process of their own, under a limit of time and memory."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import psutil

from rcc_integrations.errors import MissingExtraError, UnreadableFileError
from rcc_integrations.files.kinds import KINDS
from rcc_integrations.files.parsed import Parsed

#: Kinds that are parsed here and now: reading plain text takes time and memory in proportion to its length.
PLAIN: Final = frozenset(("text",))
#: Seconds that parsing one document may take, and more for every MiB of it.
SECONDS: Final = 60.0
SECONDS_PER_MIB: Final = 10.0
#: Bytes of memory that parsing one document may take.
MEMORY: Final = 1 << 30
#: The most bytes of text that come of a document.
MOST_TEXT: Final = 1 << 28

_TICK = 0.05
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from rcc_integrations.files.parser_process import main; main(int(sys.argv[2]))"
)

_Answer = tuple[dict[str, Any], bytes]


def parse(kind: str, data: bytes, name: str) -> Parsed:
    """Parse a document.

    Args:
        kind: Its kind, a key of `KINDS`.
        data: Its bytes.
        name: What to call it in errors.

    Raises:
        UnreadableFileError: It is broken, or takes more time or memory than is allowed.
        EmptyDocumentError: It holds no text.
        MissingExtraError: The library for its kind is not installed.
    """
    if kind in PLAIN:
        return KINDS[kind](data, name)
    return _parser.parse(kind, data, name)


def seconds_for(size: int) -> float:
    """Return how long parsing a document of so many bytes may take."""
    return SECONDS + SECONDS_PER_MIB * size / 2**20


class Parser:
    """A process that parses one document after the other; started with the first, and anew when it was ended.

    Args:
        memory: Bytes that one document may need.
        seconds: Tells how long a document of so many bytes may take.
    """

    def __init__(self, memory: int = MEMORY, seconds: Callable[[int], float] = seconds_for) -> None:
        self._memory, self._seconds = memory, seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.Queue[_Answer | None] = queue.Queue()
        self._owner = os.getpid()

    def parse(self, kind: str, data: bytes, name: str) -> Parsed:
        """See `parse`."""
        seconds = self._seconds(len(data))
        with self._lock:
            process, answers = self._running(name)
            request = {"kind": kind, "name": name, "bytes": len(data), "seconds": seconds}
            try:
                head, body = self._ask(process, answers, json.dumps(request).encode() + b"\n", data, name, seconds)
            except BaseException:
                self._end()
                raise
            if head.get("error") == "memory":
                self._end()
                raise self._too_much(name)
        return _result(head, body)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _running(self, name: str) -> tuple[subprocess.Popen[bytes], queue.Queue[_Answer | None]]:
        if self._owner != os.getpid():
            # The child of a fork has its parent's pipes, which it must not read from.
            self._process, self._owner = None, os.getpid()
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process, self._answers = self._start(name), queue.Queue()
            arguments = (self._process, self._answers)
            threading.Thread(target=_listen, args=arguments, daemon=True, name="rcc-parser").start()
        return self._process, self._answers

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        path = json.dumps([place for place in sys.path if place])
        # -P: the folder that somebody stands in is no place to import from.
        command = [sys.executable, "-P", "-c", _START, path, str(self._memory)]
        # Ctrl-C is for this process, which then ends the other.
        apart: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                **apart,
            )
        except OSError as error:
            raise UnreadableFileError(
                f"{name} cannot be read: the process that parses documents cannot be started ({error})."
            ) from error

    def _ask(
        self,
        process: subprocess.Popen[bytes],
        answers: queue.Queue[_Answer | None],
        head: bytes,
        data: bytes,
        name: str,
        seconds: float,
    ) -> _Answer:
        """Send a document and wait for what comes of it.

        Raises:
            UnreadableFileError: It took too long or too much memory, or the process ended.
        """
        assert process.stdin is not None
        deadline = time.monotonic() + seconds
        with contextlib.suppress(BrokenPipeError):  # what became of the process is told below
            process.stdin.write(head)
            process.stdin.write(data)
            process.stdin.flush()
        limit = None
        while True:
            try:
                found = answers.get(timeout=_TICK)
            except queue.Empty:
                used = _memory_of(process)
                limit = used + self._memory if limit is None and used else limit
                if limit is not None and used > limit:
                    raise self._too_much(name) from None
                if time.monotonic() > deadline:
                    raise _too_long(name, seconds) from None
                continue
            if found is not None:
                return found
            code = process.wait()
            if -code == getattr(signal, "SIGXCPU", 0):
                # It ended itself, before this process got round to it.
                raise _too_long(name, seconds)
            how = f"signal {-code}, as when memory runs out" if code < 0 else f"code {code}"
            raise UnreadableFileError(f"{name} cannot be read: the process that parsed it ended with {how}.")

    def _too_much(self, name: str) -> UnreadableFileError:
        return UnreadableFileError(
            f"{name} cannot be read: parsing it takes more than the {self._memory / 2**20:,.0f} MiB of memory that a "
            "document may take. Save it in another format, or split it."
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()


def _too_long(name: str, seconds: float) -> UnreadableFileError:
    return UnreadableFileError(
        f"{name} cannot be read: parsing it takes more than the {seconds:.0f} seconds that a document of its size may "
        "take. Save it in another format, or split it."
    )


def _listen(process: subprocess.Popen[bytes], answers: queue.Queue[_Answer | None]) -> None:
    """Read answers until the process ends; None says that it did."""
    assert process.stdout is not None
    try:
        while line := process.stdout.readline(1 << 20):
            head = json.loads(line)
            size = head["bytes"]
            if not 0 <= size <= MOST_TEXT:
                break
            body = process.stdout.read(size)
            if len(body) < size:
                break
            answers.put((head, body))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    answers.put(None)


def _memory_of(process: subprocess.Popen[bytes]) -> int:
    try:
        return int(psutil.Process(process.pid).memory_info().rss)
    except psutil.Error:
        return 0


def _result(head: dict[str, Any], body: bytes) -> Parsed:
    from rcc_integrations.files.parser_process import ERRORS

    kind = head.get("error")
    if kind is None:
        return Parsed(body.decode("utf-8"), head["metadata"])
    error = ERRORS.get(kind, UnreadableFileError)
    if error is MissingExtraError:
        missing = MissingExtraError.__new__(MissingExtraError)
        missing.args = (head["message"],)
        raise missing
    raise error(head["message"])


_parser = Parser()
atexit.register(_parser.close)
