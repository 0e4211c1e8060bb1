from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from rcc_integrations.reader.reader import RCCReader

pytest.importorskip("uvicorn")
pytest.importorskip("mcp")

from rcc_integrations.server.app import create_app
from rcc_integrations.server.settings import ServerSettings

TEXTS = {
    "leave.md": "# Leave\n\nThe warden approves leave. A request is sent two weeks before the first day.\n",
    "ferry.md": "The ferry to Holm leaves at 7:45. A ticket for the ferry costs 12 euros.\n",
    "people/pilot.txt": "Ines Calder works as a harbour pilot. Ines Calder was born in Varde.\n",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Sockets are closed to tests; these talk to a server on this machine.
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1"]))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests wait as long as a busy machine takes."""
    for name in ("get", "post", "delete", "options"):
        monkeypatch.setattr(httpx, name, partial(getattr(httpx, name), timeout=300))


@dataclass
class Running:
    """A server that runs in a thread of this process."""

    url: str
    reader: RCCReader
    app: Any

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


def run_server(reader: RCCReader, settings: ServerSettings, **more: Any) -> Iterator[Running]:
    import uvicorn

    app = create_app(reader, settings, **more)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="on", ws="none",
                            timeout_graceful_shutdown=2)  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waiting = threading.Event()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        waiting.wait(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield Running(f"http://127.0.0.1:{port}", reader, app)
    server.should_exit = True
    thread.join(120)
    assert not thread.is_alive(), "the server did not end"


@pytest.fixture
def start(tmp_path: Path, model: Any) -> Iterator[Any]:
    """Starts servers on stores of their own: `start(api_key="x")`."""
    running: list[Iterator[Running]] = []

    def started(texts: dict[str, str] | None = TEXTS, *, watches: Any = (), **settings: Any) -> Running:
        reader = RCCReader.open(tmp_path / f"memory{len(running)}", model=model)
        if texts:
            reader.add("handbook", texts)
        server = run_server(reader, ServerSettings(port=0, **settings), watches=watches)
        running.append(server)
        return next(server)

    yield started
    for server in running:
        next(server, None)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: Any) -> Iterator[Running]:
    """A server with the collection `handbook`; tests leave that as it is."""
    reader = RCCReader.open(tmp_path_factory.mktemp("served") / "memory", model=model)
    reader.add("handbook", TEXTS)
    yield from run_server(reader, ServerSettings(port=0))
