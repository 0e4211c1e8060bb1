"""The server: how much it adds to a question, how adding and asking get along, and many clients at once.

    python -m benchmarks.server                 # all measures, with the default model
    python -m benchmarks.server --only load --tiny   # a random model of a few thousand weights: the server alone

`page` starts `rcc serve` and waits for the page's files and the list of collections. `overhead` asks the same questions
through the server and through `RCCReader` in one process, by turns. `adding` asks at random moments while documents are
being added. `load` lets clients ask all at once; one of ten questions is left mid-way. Every answer is compared with
what `RCCReader` says to that question alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from rcc_integrations.reader.reader import RCCReader

ROOT = Path(__file__).parents[1]
QUESTIONS = [item["question"] for item in json.loads((ROOT / "examples/questions.json").read_text(encoding="utf-8"))]
MEASURES = ("page", "overhead", "adding", "load")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=MEASURES, action="append")
    parser.add_argument("--tiny", action="store_true", help="a random model instead of the default one")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=24)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = None
        if given.tiny:
            from tests.tiny import save_tiny_model

            model = save_tiny_model(Path(folder) / "model")
        store = Path(folder) / "memory"
        with RCCReader.open(store, model=model) as reader:
            from rcc_integrations.files import find_files

            reader.add("examples", find_files([ROOT / "examples/data"])[0])
            expected = {question: reader.ask("examples", question, max_new_tokens=16).text for question in QUESTIONS}
        for measure in given.only or MEASURES:
            if measure == "page":
                page(store, model)
            elif measure == "load":
                asyncio.run(load(store, model, expected, given.clients, given.questions))
            else:
                with served(store, model) as (url, reader):
                    if measure == "overhead":
                        overhead(url, reader, given.pairs)
                    else:
                        adding(url, given.documents, given.pairs)


def page(store: Path, model: Path | None) -> None:
    """How soon the page can be used."""
    begun = time.perf_counter()
    with process(store, model) as (url, _):
        up = time.perf_counter()
        for path in ("/", "/page/style.css", "/page/app.js", "/page/talk.js", "/api/collections", "/api/status"):
            httpx.get(url + path).raise_for_status()
        usable = time.perf_counter()
    print(f"page: the server is up after {up - begun:.2f} s, the page usable {usable - up:.2f} s after that")


def overhead(url: str, reader: RCCReader, pairs: int) -> None:
    """What the server adds to the first token."""
    with httpx.Client(base_url=url, timeout=600) as client:
        through: list[float] = []
        plain: list[float] = []
        for number in range(pairs + 2):
            question = QUESTIONS[number % len(QUESTIONS)]
            for measured in random.sample(("server", "reader"), 2):
                begun = time.perf_counter()
                if measured == "server":
                    first = first_piece(client, "examples", question)
                else:
                    with reader.stream("examples", question, max_new_tokens=16) as stream:
                        next(stream)
                        first = time.perf_counter()
                        for _ in stream:
                            pass
                if number >= 2:
                    (through if measured == "server" else plain).append(first - begun)
    ratio = statistics.median(through) / statistics.median(plain)
    print(
        f"overhead: first token {statistics.median(through):.3f} s through the server, "
        f"{statistics.median(plain):.3f} s through RCCReader: ÷ {ratio:.2f} ({pairs} questions each, warm, medians)"
    )


def adding(url: str, documents: int, questions: int) -> None:
    """How much longer the first token takes while documents are being added."""
    texts = [
        f"Report {n}. " + " ".join(f"Item {n}-{m} was moved to shelf {n * m % 97}." for m in range(25))
        for n in range(documents)
    ]
    with httpx.Client(base_url=url, timeout=600) as client:
        for question in QUESTIONS[:2]:
            first_piece(client, "examples", question)
        idle = asked_at_random(client, questions, lambda: True)
        job = client.post(
            "/api/collections/reports/files", files=[("files", (f"{n}.txt", t.encode())) for n, t in enumerate(texts)]
        ).json()

        def going() -> bool:
            return client.get(f"/api/jobs/{job['id']}").json()["state"] in ("waiting", "running")

        begun = time.perf_counter()
        while not client.get(f"/api/jobs/{job['id']}").json()["tokens"]:
            time.sleep(0.05)
        busy = asked_at_random(client, 4 * questions, going)
        while going():
            time.sleep(0.2)
        took = time.perf_counter() - begun
        job = client.get(f"/api/jobs/{job['id']}").json()
    ratio = statistics.median(busy) / statistics.median(idle)
    worst = max(busy) / statistics.median(idle)
    print(
        f"adding: first token {statistics.median(busy):.3f} s while {documents} documents ({job['tokens']:,} tokens) "
        f"are added, {statistics.median(idle):.3f} s idle: ÷ {ratio:.2f} (medians of {len(busy)} and {len(idle)}; "
        f"the worst ÷ {worst:.1f}); adding took {took:.0f} s beside the questions"
    )


def asked_at_random(client: httpx.Client, most: int, going: Any) -> list[float]:
    """Ask after random pauses and return the times to the first token."""
    found: list[float] = []
    while len(found) < most and going():
        time.sleep(random.uniform(0.1, 1.5))
        begun = time.perf_counter()
        found.append(first_piece(client, "examples", QUESTIONS[len(found) % len(QUESTIONS)]) - begun)
    return found


def first_piece(client: httpx.Client, collection: str, question: str) -> float:
    """Ask, read the whole answer, and return when its first piece came."""
    first = 0.0
    body = {"question": question, "max_new_tokens": 16, "grounded": False}
    with client.stream("POST", f"/api/collections/{collection}/ask", json=body) as response:
        for line in response.iter_lines():
            if line.startswith("event: ") and not first:
                first = time.perf_counter()
    return first


async def load(store: Path, model: Path | None, expected: dict[str, str], clients: int, questions: int) -> None:
    """Many clients at once."""
    counts = {"right": 0, "left": 0, "refused": 0, "wrong": 0}
    with process(store, model, "--max-waiting", "128") as (url, server):
        limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
        async with httpx.AsyncClient(base_url=url, timeout=1800, limits=limits) as client:
            await ask_one(client, QUESTIONS[0], expected, counts, leave=False)
            before, counts["right"] = server.memory_info().rss, 0
            sizes: list[int] = []
            todo = iter(range(questions))
            begun = time.perf_counter()

            async def work() -> None:
                for number in todo:
                    leave = number % 10 == 7
                    await ask_one(client, QUESTIONS[number % len(QUESTIONS)], expected, counts, leave=leave)
                    sizes.append(server.memory_info().rss)

            await asyncio.gather(*(work() for _ in range(clients)))
            took = time.perf_counter() - begun
            for _ in range(600):
                if not (status := (await client.get("/api/status")).json())["waiting"]:
                    break
                await asyncio.sleep(0.1)
            after = server.memory_info().rss
    half = statistics.median(sizes[len(sizes) // 4 : len(sizes) // 2])
    late = statistics.median(sizes[-len(sizes) // 4 :])
    print(
        f"load: {clients} clients, {questions} questions in {took:.0f} s: {counts['right']} answered rightly, "
        f"{counts['left']} left mid-way, {counts['wrong']} wrong or lost; {counts['refused']} times told to wait, "
        f"{status['waiting']} still waiting at the end. Memory {before / 1e6:.0f} MB before and {after / 1e6:.0f} MB "
        f"after; last quarter ÷ second quarter {late / half:.3f}"
    )


async def ask_one(
    client: httpx.AsyncClient, question: str, expected: dict[str, str], counts: dict[str, int], *, leave: bool
) -> None:
    """Ask once, as often as it takes while the queue is full."""
    body = {"question": question, "max_new_tokens": 16, "grounded": False}
    while True:
        async with client.stream("POST", "/api/collections/examples/ask", json=body) as response:
            if response.status_code == 429:
                counts["refused"] += 1
                wait = float(response.headers["retry-after"])
            else:
                answer, name = None, ""
                async for line in response.aiter_lines():
                    if leave and line.startswith("data: "):
                        counts["left"] += 1
                        return
                    if line.startswith("event: "):
                        name = line[7:]
                    elif line.startswith("data: ") and name == "answer":
                        answer = json.loads(line[6:])["text"]
                counts["right" if answer == expected[question] else "wrong"] += 1
                return
        await asyncio.sleep(random.uniform(0.2, 1) * min(wait, 5))


@contextmanager
def process(store: Path, model: Path | None, *more: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run `rcc serve` in a process of its own."""
    chosen = ["--model", str(model)] if model else []
    command = [
        sys.executable,
        "-m",
        "rcc_integrations.cli",
        "--store",
        str(store),
        *chosen,
        "serve",
        "--port",
        "0",
        *more,
    ]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    assert started.stdout is not None
    try:
        yield started.stdout.readline().split()[0], psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait(60)


@contextmanager
def served(store: Path, model: Path | None) -> Iterator[tuple[str, RCCReader]]:
    """Run a server in this process, beside its reader."""
    import uvicorn

    from rcc_integrations.server import ServerSettings, create_app

    reader = RCCReader.open(store, model=model)
    app = create_app(reader, ServerSettings(port=0))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    assert reader.model is not None
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", reader
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main()
