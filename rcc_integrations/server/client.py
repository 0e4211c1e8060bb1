"""`ServerClient`: a running server, reached from another process; no more than the standard library is needed."""

from __future__ import annotations

import http.client
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from rcc_integrations.errors import RCCError
from rcc_integrations.server.notice import Notice, notices


class ServerError(RCCError):
    """The server refused, failed, or is gone."""


class ServerClient:
    """Asks a running server.

    Args:
        notice: Where it is.
        timeout: Seconds without any answer after which it is given up.
    """

    def __init__(self, notice: Notice, timeout: float = 600.0) -> None:
        self.notice = notice
        self._timeout = timeout

    @classmethod
    def find(cls, store: str, path: Path, model: list[str | None]) -> ServerClient | None:
        """Return a server on a store that answers; `None` if there is none.

        Args:
            store: Id of the store.
            path: Its folder.
            model: What `--model` and `--base` are; a server with others is not used.
        """
        for notice in notices(store, path, model):
            try:
                status = cls(notice, timeout=2.0)._call("GET", "/api/status")
            except ServerError:
                continue
            if status["store"]["id"] == store and not status["model_error"]:
                return cls(notice)
        return None

    def collections(self) -> list[dict[str, Any]]:
        """Return all collections."""
        return list(self._call("GET", "/api/collections"))

    def collection(self, name: str) -> dict[str, Any]:
        """Return a collection with its documents."""
        return dict(self._call("GET", f"/api/collections/{quote(name, safe='')}"))

    def document(self, name: str, id: str) -> dict[str, Any]:
        """Return a document with its text."""
        return dict(self._call("GET", f"/api/collections/{quote(name, safe='')}/document?{urlencode({'id': id})}"))

    def search(self, name: str, query: str, k: int = 5) -> dict[str, Any]:
        """Return the windows that share most words with a query."""
        return dict(self._call("POST", f"/api/collections/{quote(name, safe='')}/search", {"query": query, "k": k}))

    def add(self, name: str, id: str, text: str) -> dict[str, Any]:
        """Add a text, and wait until it is there; returns the job."""
        job = self._call("POST", f"/api/collections/{quote(name, safe='')}/texts", {"id": id, "text": text})
        *_, (_, last) = self._events("GET", f"/api/jobs/{job['id']}/events", None)
        return dict(last)

    def ask(self, name: str, question: str, **options: Any) -> dict[str, Any]:
        """Answer a question; see `rest.Question` for options."""
        body = {"question": question, **options, "stream": False}
        return dict(self._call("POST", f"/api/collections/{quote(name, safe='')}/ask", body))

    def stream(self, name: str, question: str, **options: Any) -> Generator[str | dict[str, Any]]:
        """Yield an answer's pieces, then the answer; closing the iterator stops the work.

        Raises:
            ServerError: The server refused, failed, or is gone.
        """
        body = {"question": question, **options, "stream": True}
        for _, data in self._events("POST", f"/api/collections/{quote(name, safe='')}/ask", body):
            yield data

    def _open(self, method: str, path: str, body: Any) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        address = urlsplit(self.notice.url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=self._timeout)
        headers = {"Authorization": f"Bearer {self.notice.key}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise ServerError(_message(response.read()))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ServerError(f"The server at {self.notice.url} does not answer: {error}.") from error
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection, response = self._open(method, path, body)
        try:
            return json.loads(response.read() or b"null")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServerError(f"The server at {self.notice.url} broke off: {error}.") from error
        finally:
            connection.close()

    def _events(self, method: str, path: str, body: Any) -> Generator[tuple[str, Any]]:
        connection, response = self._open(method, path, body)
        name, ended = "", False
        try:
            while line := response.readline():
                key, _, value = line.decode("utf-8").rstrip("\n").partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    data = json.loads(value)
                    if not name:
                        raise ServerError(_message(value.encode()))
                    ended = name == "answer" or (name == "job" and data["state"] in ("done", "failed", "cancelled"))
                    yield name, data
                    name = ""
            if not ended:
                raise ServerError(f"The server at {self.notice.url} ended before the answer was whole.")
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServerError(f"The server at {self.notice.url} broke off: {error}.") from error
        finally:
            connection.close()


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The server failed: {body[:200]!r}"
