"""What a server on a person's machine must refuse."""

from __future__ import annotations

import io
import json
import zipfile

import httpx
import pytest

from rcc_integrations.errors import ConfigError
from rcc_integrations.server.settings import ServerSettings
from tests.server.conftest import TEXTS

SCRIPTS = """<!doctype html><title>Evil</title><body onload="alert(1)"><h1>Prices</h1>
<p>The bell costs <b>9 euros</b>.</p><script>document.title = "owned"</script><img src=x onerror="alert(2)">
<p>[click](javascript:alert(3)) &lt;script&gt;alert(4)&lt;/script&gt;</p></body>"""


def finished(server, response) -> dict:
    job = response.json()
    with httpx.stream("GET", f"{server.url}/api/jobs/{job['id']}/events", timeout=300) as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                job = json.loads(line[6:])
    return job


def upload(server, collection: str, *files: tuple[str, bytes]) -> httpx.Response:
    return httpx.post(f"{server.url}/api/collections/{collection}/files", files=[("files", each) for each in files])


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.7.7", "", "localhost.evil:80"])
def test_a_foreign_host_is_refused(server, host):
    for path in ("/", "/api/collections", "/v1/models"):
        response = httpx.get(f"{server.url}{path}", headers={"Host": host})
        assert response.status_code == 403 and response.json()["error"]["code"] == "unknown_host"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"])
def test_names_of_this_machine_are_known(server, host):
    response = httpx.get(f"{server.url}/v1/models", headers={"Host": f"{host}:{server.port}"})
    assert response.status_code == 200


def test_pages_of_other_origins_cannot_post(server):
    sent = {"Origin": "https://evil.example"}
    response = httpx.post(f"{server.url}/api/collections/x/files", files={"files": ("a.txt", b"a")}, headers=sent)
    assert response.status_code == 403 and response.json()["error"]["code"] == "unknown_origin"
    assert httpx.delete(f"{server.url}/api/collections/handbook", headers={"Origin": "null"}).status_code == 403
    assert "access-control-allow-origin" not in httpx.get(f"{server.url}/v1/models", headers=sent).headers


def test_an_allowed_origin_may_call(start):
    server = start(origins=("http://localhost:3000",))
    sent = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    assert httpx.options(f"{server.url}/v1/chat/completions", headers=sent).status_code == 200
    found = httpx.get(f"{server.url}/v1/models", headers={"Origin": "http://localhost:3000"})
    assert found.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_a_key_is_needed_where_one_is_set(start):
    server = start(api_key="secret")
    for path in ("/v1/models", "/api/status", "/open-webui/v1/models", "/mcp", "/openapi.json"):
        assert httpx.get(f"{server.url}{path}").status_code == 401, path
        assert httpx.get(f"{server.url}{path}", headers={"Authorization": "Bearer secre"}).status_code == 401
    for headers in ({"Authorization": "Bearer secret"}, {"X-API-Key": "secret"}):
        assert httpx.get(f"{server.url}/v1/models", headers=headers).status_code == 200
    assert httpx.get(f"{server.url}/").status_code == 200  # the page holds no data


def test_an_address_that_others_can_reach_needs_a_key():
    with pytest.raises(ConfigError, match="an API key is needed"):
        ServerSettings(host="0.0.0.0")
    assert not ServerSettings(host="0.0.0.0", api_key="secret").is_loopback
    assert ServerSettings(host="::1").is_loopback


def test_the_page_may_run_its_own_files_alone(server):
    policy = httpx.get(f"{server.url}/").headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "default-src 'none'" in policy
    assert httpx.get(f"{server.url}/api/collections").headers["x-content-type-options"] == "nosniff"


def test_a_body_that_is_too_large_is_refused(start):
    server = start(max_body_bytes=10_000, max_file_bytes=5_000)
    assert upload(server, "x", ("a.txt", b"a" * 20_000)).status_code == 413

    def chunks():
        for _ in range(20):
            yield b" " * 1000

    # Without a length in front, it is counted as it comes.
    assert httpx.post(f"{server.url}/v1/chat/completions", content=chunks()).status_code == 413
    job = finished(server, upload(server, "x", ("big.txt", b"word " * 1500), ("small.txt", b"The bell rings twice.")))
    states = {file["id"]: file for file in job["files"]}
    assert states["small.txt"]["state"] == "added" and "too large" in states["big.txt"]["reason"]


def test_names_lead_nowhere(start, tmp_path):
    server = start(None)
    names = ["../../outside.txt", "/etc/outside.txt", "a/../b.txt", "con\nfetti.txt"]
    before = {path for path in tmp_path.rglob("*") if "memory0" not in path.parts}
    job = finished(server, upload(server, "x", *((name, f"The bell of {n}.".encode()) for n, name in enumerate(names))))
    ids = {file["id"] for file in job["files"] if file["state"] == "added"}
    assert {"outside.txt", "etc/outside.txt", "a/b.txt"} <= ids
    assert {path for path in tmp_path.rglob("*") if "memory0" not in path.parts} == before
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fsettings.py", "/page//etc/passwd"):
        assert httpx.get(f"{server.url}{path}").status_code in (400, 404)


def test_bombs_end_in_a_reason(start):
    server = start(None)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
        package.writestr("word/document.xml", bytes(80 * 2**20))
    nested = b"<div>" * 20_000 + b"deep"
    job = finished(server, upload(server, "x", ("bomb.docx", packed.getvalue()), ("deep.html", nested),
                                  ("fine.txt", b"The bell rings twice.")))  # fmt: skip
    states = {file["id"]: file for file in job["files"]}
    assert job["state"] == "done"
    assert states["deep.html"]["state"] == states["fine.txt"]["state"] == "added"
    assert states["bomb.docx"]["state"] == "skipped" and "unpack" in states["bomb.docx"]["reason"]


def test_html_becomes_text(start):
    server = start(None)
    finished(server, upload(server, "x", ("evil.html", SCRIPTS.encode())))
    found = httpx.get(f"{server.url}/api/collections/x/document", params={"id": "evil.html"})
    assert found.headers["content-type"] == "application/json"
    assert "The bell costs 9 euros." in found.json()["text"] and "owned" not in found.json()["text"]


def test_nothing_of_an_unforeseen_error_is_told(start, monkeypatch):
    server = start()

    def broken(name):
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(server.reader.store, "snapshot", broken)
    response = httpx.get(f"{server.url}/api/collections/handbook")
    assert response.status_code == 500 and "swordfish" not in response.text
    assert set(TEXTS)
