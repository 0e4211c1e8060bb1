"""`Guard`: what every request passes before anything else sees it."""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rcc_integrations.server.failures import RequestError, body_of, headers_of, status_of
from rcc_integrations.server.settings import ServerSettings

#: The page runs its own files only: no inline scripts or styles, no other host, in no frame.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
#: What needs the key; the page itself holds no data.
_PROTECTED = ("/v1", "/open-webui", "/api", "/mcp", "/openapi.json")
_SAFE = ("GET", "HEAD", "OPTIONS")


class Guard:
    """Refuses foreign `Host` headers, pages of other origins, wrong keys and bodies that are too large.

    A page elsewhere whose name is made to point at this machine (DNS rebinding) sends its own name as `Host`. One that
    posts a form sends its `Origin`. Both are refused.

    Args:
        app: What comes behind.
        settings: The server's settings.
        keys: What is accepted as key beside `settings.api_key`, which is needed only if that is set.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, keys: Iterable[str] = ()) -> None:
        self._app = app
        self._settings = settings
        self._keys = [key.encode() for key in (settings.api_key, *keys) if key]
        own = {settings.host.strip("[]"), "localhost", "127.0.0.1", "::1"}
        self._hosts = {name.lower() for name in (*own, *settings.allowed_hosts)} - {"0.0.0.0", "::"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            return
        sent: dict[str, str] = {}
        for name, value in scope["headers"]:
            sent.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        started = False

        async def guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                there = {name.lower() for name, _ in message["headers"]}
                message = {
                    **message,
                    "headers": [*message["headers"], *(item for item in _HEADERS if item[0] not in there)],
                }
            await send(message)

        try:
            self._check(scope, sent)
            await self._app(scope, self._bounded(receive, sent), guarded)
        except RequestError as error:
            if started:
                raise
            await _refuse(error, guarded)

    def _check(self, scope: Scope, sent: dict[str, str]) -> None:
        host = sent.get("host", "")
        if not self._known(host):
            raise RequestError(
                403,
                f"This server is not called {host!r}. Use http://127.0.0.1 or localhost, or start it with "
                f"--allow-host {_name(host) or 'NAME'}.",
                code="unknown_host",
            )
        origin = sent.get("origin")
        foreign = origin is not None and not self._own_origin(origin, host) and not self._allows(origin)
        if foreign and scope["method"] not in _SAFE:
            raise RequestError(
                403, f"Pages of {origin!r} may not call this server: start it with --allow-origin {origin}.",
                code="unknown_origin",
            )  # fmt: skip
        if scope["method"] == "OPTIONS" or not scope["path"].startswith(_PROTECTED):
            return
        if self._settings.api_key is not None and not self._has_key(sent):
            raise RequestError(
                401, "The API key is missing or wrong: send it as 'Authorization: Bearer KEY'.", code="invalid_api_key"
            )

    def _known(self, host: str) -> bool:
        name = _name(host)
        if name in self._hosts:
            return True
        # A number cannot be made to point elsewhere; where other machines may call, they may call by number.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return not self._settings.is_loopback

    def _own_origin(self, origin: str, host: str) -> bool:
        return urlsplit(origin).netloc.lower() == host.lower()

    def _allows(self, origin: str) -> bool:
        return "*" in self._settings.origins or origin in self._settings.origins

    def _has_key(self, sent: dict[str, str]) -> bool:
        kind, _, given = sent.get("authorization", "").partition(" ")
        key = given.strip() if kind.lower() == "bearer" else sent.get("x-api-key", "")
        return any(hmac.compare_digest(key.encode("latin-1"), known) for known in self._keys)

    def _bounded(self, receive: Receive, sent: dict[str, str]) -> Receive:
        most = self._settings.max_body_bytes
        told = sent.get("content-length", "0")
        if told.isdecimal() and int(told) > most:
            raise _too_large(most)
        taken = 0

        async def bounded() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > most:
                    raise _too_large(most)
            return message

        return bounded


def _name(host: str) -> str:
    """Return a `Host` header's name without its port, in small letters."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _too_large(most: int) -> RequestError:
    return RequestError(
        413, f"The request is larger than the {most / 2**20:.6g} MiB that are taken at once: send fewer files.",
        code="request_too_large",
    )  # fmt: skip


async def _refuse(error: RequestError, send: Send) -> None:
    body = json.dumps(body_of(error)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **headers_of(error)}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status_of(error), "headers": raw})
    await send({"type": "http.response.body", "body": body})
