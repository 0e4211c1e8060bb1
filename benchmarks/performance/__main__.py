"""Measures what compressed memory costs and saves, and writes docs/performance-figures.md, its JSON and its chart."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.performance.batch import batch
from benchmarks.performance.common import alone, machine
from benchmarks.performance.compression import compression
from benchmarks.performance.disk import blob_reading, bytes_on_disk
from benchmarks.performance.first_token import first_token, full_text
from benchmarks.performance.many_documents import many_documents, unchanged_folder
from benchmarks.performance.page import write
from benchmarks.performance.rss import rss
from benchmarks.performance.start import start

#: In the order of the table.
MEASURES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    work.__name__: work
    for work in (
        compression,
        first_token,
        full_text,
        blob_reading,
        bytes_on_disk,
        rss,
        unchanged_folder,
        many_documents,
        batch,
        start,
    )
}


def main() -> None:
    """Run what is asked for; everything, or what a stopped run left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=[], metavar="NAME", help=" ".join(MEASURES))
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of the page, its JSON and its chart")
    given = parser.parse_args()
    path = given.docs / "performance.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {"measures": {}, "unfinished": []}
    found["machine"] = machine()
    if not given.only and not found["unfinished"]:
        found["unfinished"] = list(MEASURES)
    for name in given.only or list(found["unfinished"]):
        begun = time.perf_counter()
        # A process each: what one measure leaves in memory is no matter of the next.
        rows = alone(MEASURES[name])
        took = time.perf_counter() - begun
        found["measures"][name] = {"rows": rows, "seconds": round(took)}
        found["unfinished"] = [other for other in found["unfinished"] if other != name]
        found["measures"] = {other: found["measures"][other] for other in MEASURES if other in found["measures"]}
        write(found, given.docs)
        print(f"{name} ({took:.0f} s)")
        for each in rows:
            print(f"  {each['measure']}: {each['shown']}  {each['aim']}{_verdict(each)}", flush=True)


def _verdict(each: dict[str, Any]) -> str:
    return {True: " (met)", False: " (MISSED)", None: ""}[each["met"]]


if __name__ == "__main__":
    main()
