"""Adding: progress of every file, reasons, stopping, making way for questions."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.server.test_guard import finished, upload


def texts(count: int, words: int = 60) -> list[tuple[str, bytes]]:
    return [(f"note {n}.txt", f"Note {n}. ".encode() + b"The bell rings twice. " * words) for n in range(count)]


def test_progress_is_told_file_by_file(start):
    server = start(None)
    response = upload(server, "notes", *texts(3), ("noise.bin", bytes(range(256)) * 40), ("empty.txt", b" "))
    assert response.status_code == 202
    seen = []
    with httpx.stream("GET", f"{server.url}/api/jobs/{response.json()['id']}/events", timeout=300) as events:
        seen = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    states = {file["id"]: file for file in seen[-1]["files"]}
    assert seen[-1]["state"] == "done" and seen[-1]["tokens"] > 0 and seen[-1]["seconds"] > 0
    assert [states[f"note {n}.txt"]["state"] for n in range(3)] == ["added"] * 3
    assert states["noise.bin"]["state"] == "skipped" and states["noise.bin"]["reason"]
    assert "empty" in states["empty.txt"]["reason"]
    found = httpx.get(f"{server.url}/api/collections/notes").json()
    assert found["documents"] == 3 and found["bytes"] > 0 and found["seconds"] > 0
    assert [item["id"] for item in found["items"]] == [f"note {n}.txt" for n in range(3)]


def test_a_changed_file_replaces_and_an_unchanged_one_costs_nothing(start):
    server = start(None)
    first, second = texts(2)
    finished(server, upload(server, "notes", first, second))
    job = finished(server, upload(server, "notes", first, (second[0], b"The bell is silent.")))
    assert [file["state"] for file in job["files"]] == ["unchanged", "replaced"]
    assert server.reader.text("notes", second[0]) == "The bell is silent."


def test_a_job_can_be_stopped_and_what_is_done_stays(start):
    server = start(None)
    job = upload(server, "notes", *texts(60, 300)).json()
    until = time.monotonic() + 60
    while not httpx.get(f"{server.url}/api/collections/notes").json().get("documents") and time.monotonic() < until:
        time.sleep(0.02)
    httpx.delete(f"{server.url}/api/jobs/{job['id']}")
    while (job := httpx.get(f"{server.url}/api/jobs/{job['id']}").json())["state"] == "running":
        time.sleep(0.02)
    assert job["state"] == "cancelled"
    stored = len(server.reader.documents("notes"))
    assert 0 < stored < 60 and sum(file["state"] == "added" for file in job["files"]) == stored
    assert server.reader.verify().ok


def test_questions_are_answered_while_documents_are_added(start):
    server = start()
    job = upload(server, "notes", *texts(40, 300)).json()
    ask = {"question": "Who approves leave?", "max_new_tokens": 4, "stream": False}
    for _ in range(3):
        assert httpx.post(f"{server.url}/api/collections/handbook/ask", json=ask, timeout=300).status_code == 200
    # The batches that follow are small, so that the next question waits for little.
    while server.reader.model.batch_tokens != 256:
        assert httpx.get(f"{server.url}/api/jobs/{job['id']}").json()["state"] == "running"
    httpx.delete(f"{server.url}/api/jobs/{job['id']}")


def test_too_much_at_once_is_refused(start):
    server = start(None, max_files=3, max_held_bytes=30_000)
    assert upload(server, "notes", *texts(4)).status_code == 413
    with ThreadPoolExecutor(12) as pool:
        large = list(pool.map(lambda _: upload(server, "notes", *texts(1, 1000)), range(12)))
    refused = [each for each in large if each.status_code == 429]
    assert refused and all(each.headers["retry-after"] for each in refused)
    assert {each.status_code for each in large} == {202, 429}


def test_collections_are_renamed_removed_and_given_a_time(start):
    server = start()
    client = httpx.Client(base_url=server.url, timeout=300)
    changed = client.patch("/api/collections/handbook", json={"name": "guide", "ttl": "7d", "renew": True}).json()
    assert changed["name"] == "guide" and changed["expiry"]["renew"] and changed["expiry"]["ttl"] == 7 * 86400
    assert client.delete("/api/collections/guide/document", params={"id": "ferry.md"}).status_code == 204
    assert client.delete("/api/collections/guide/document", params={"id": "ferry.md"}).status_code == 404
    assert client.patch("/api/collections/guide", json={"ttl": "soon"}).status_code == 400
    assert client.patch("/api/collections/guide", json={"ttl": ""}).json()["expiry"] is None
    assert client.delete("/api/collections/guide").status_code == 204
    assert client.get("/api/collections").json() == []
    assert client.get("/api/stats").json()["documents"] == 0
    assert client.post("/api/verify").json()["ok"]
    assert client.get("/docs").status_code == 200 and "/api/verify" in client.get("/openapi.json").json()["paths"]
