"""A folder of real documents of mixed kinds, added, asked, changed and asked again through the command line.

Run: python -m benchmarks.folder [--files 65]
The documents are what is on every machine: Python's own documentation and that of installed packages, written as
Markdown, text, HTML, PDF and Word files (benchmarks/corpus.py).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.corpus import build

QUESTION = "How does the try statement handle an exception?"


def rcc(store: Path, *words: str) -> Any:
    """Run a command and return what it printed as JSON."""
    command = [sys.executable, "-m", "rcc_integrations.cli", "--store", str(store), *words, "--json"]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    answer = json.loads(done.stdout)
    answer["wall"] = time.perf_counter() - begun
    return answer


def main() -> None:
    """Print what every step did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=110_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        documents, store = Path(place, "documents"), Path(place, "memory")
        files = build(documents, min_files=wanted.files, min_tokens_estimate=wanted.tokens)
        kinds = sorted({path.suffix for path in files})
        print(f"{len(files)} files of {len(kinds)} kinds: {' '.join(kinds)}", flush=True)
        first = rcc(store, "add", "real", str(documents))
        print(
            f"add: {len(first['added'])} documents, {first['tokens_compressed']} tokens, {first['windows_compressed']} "
            f"windows in {first['seconds']:.0f} s ({first['tokens_compressed'] / first['seconds']:.0f} tokens/s)"
        )
        for skipped in first["skipped"]:
            print(f"     skipped {json.dumps(skipped)}")
        tell(rcc(store, "ask", "real", QUESTION, "--max-new-tokens", "32"))
        again = rcc(store, "add", "real", str(documents))
        print(f"add again: {len(again['unchanged'])} unchanged, {again['windows_compressed']} windows compressed")
        edited = next(path for path in files if path.suffix in (".md", ".txt", ".rst"))
        text = edited.read_text(encoding="utf-8")
        middle = text.index(" ", len(text) // 2)
        edited.write_text(
            text[:middle] + " The password of the lighthouse is seagull." + text[middle:], encoding="utf-8"
        )
        next(path for path in files if path.suffix == ".html").unlink()
        changed = rcc(store, "add", "real", str(documents), "--prune")
        print(
            f"one sentence put into one file, one file removed: {len(changed['replaced'])} replaced, "
            f"{changed['windows_compressed']} windows compressed, {changed['windows_reused']} reused, "
            f"{len(changed['pruned'])} removed, {changed['seconds']:.1f} s"
        )
        tell(rcc(store, "ask", "real", "What is the password of the lighthouse?", "--max-new-tokens", "32"))
        verified, stats = rcc(store, "verify"), rcc(store, "stats")
        print(f"verify: {'clean' if verified['ok'] else verified}; {stats['blob_bytes'] / 2**20:.0f} MiB of memories")


def tell(answer: dict[str, Any]) -> None:
    """Print an answer and its first source."""
    source, timings = answer["sources"][0], answer["timings"]
    print(
        f"ask: {answer['text']!r} from {source['document']} [{source['start']}:{source['end']}]; "
        f"{answer['usage']['windows']} of {answer['usage']['windows_in_collection']} windows in memory, "
        f"first token {timings['first_token']:.2f} s, the whole command {answer['wall']:.1f} s",
        flush=True,
    )


if __name__ == "__main__":
    main()
