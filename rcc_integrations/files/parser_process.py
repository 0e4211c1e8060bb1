"""The process in which documents of complex formats are parsed: `ParserPool` starts it and may end it at any moment.

It takes requests on standard input and answers on standard output, each one line of JSON and so many bytes behind it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from typing import Any, BinaryIO

from rcc_integrations.errors import EmptyDocumentError, MissingExtraError, RCCError, UnreadableFileError
from rcc_integrations.files.kinds import KINDS

#: Errors that readers raise, by name; everything else is a broken file.
ERRORS: dict[str, type[RCCError]] = {
    "EmptyDocumentError": EmptyDocumentError,
    "MissingExtraError": MissingExtraError,
    "UnreadableFileError": UnreadableFileError,
}


def main(memory: int) -> None:
    """Answer requests until standard input ends.

    Args:
        memory: Bytes that one document may need, over what this process needs by itself.
    """
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What a library prints must not come between the answers.
    sys.stdout = io.StringIO()
    _go_first()
    _load()
    _limit_memory(memory)
    while line := source.readline():
        request = json.loads(line)
        data = source.read(request["bytes"])
        _limit_time(request["seconds"])
        try:
            parsed = KINDS[request["kind"]](data, request["name"])
            answer(sink, {"metadata": parsed.metadata}, parsed.text.encode("utf-8", "replace"))
        except (EmptyDocumentError, MissingExtraError, UnreadableFileError) as error:
            if isinstance(error.__cause__, MemoryError):
                answer(sink, {"error": "memory"})
                return
            answer(sink, {"error": type(error).__name__, "message": str(error)})
        except MemoryError:
            answer(sink, {"error": "memory"})
            return
        except RecursionError:
            answer(sink, {"error": "UnreadableFileError", "message": f"{request['name']} nests too deep."})
        del data


def answer(sink: BinaryIO, head: dict[str, Any], body: bytes = b"") -> None:
    """Write one answer."""
    sink.write(json.dumps({**head, "bytes": len(body)}).encode() + b"\n" + body)
    sink.flush()


def _load() -> None:
    """Import the parsers before memory is limited, so that a limit is for documents alone."""
    for name in ("bs4", "pypdf", "docx"):
        with contextlib.suppress(ImportError):
            __import__(name)


def _go_first() -> None:
    """Let Linux end this process rather than its parent when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _limit_memory(more: int) -> None:
    try:
        import resource

        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[0])
        most = pages * os.sysconf("SC_PAGE_SIZE") + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, OSError, ValueError):
        # Elsewhere than on Linux the parent alone looks after the memory.
        return


def _limit_time(seconds: float) -> None:
    """End this process by itself if its parent is not there to do it."""
    try:
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        most = int(usage.ru_utime + usage.ru_stime + seconds) + 2
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    except (ImportError, OSError, ValueError):
        return
