"""Many clients: nothing is lost or mixed, who leaves stops the work, a full queue says so."""

from __future__ import annotations

import asyncio
import json
import time

import httpx
import pytest

QUESTIONS = ["Who approves leave?", "When does the ferry leave?", "Who is the pilot?", "What costs 12 euros?"]


def body(question: str, tokens: int = 6, **more):
    return {"question": question, "max_new_tokens": tokens, "grounded": False, **more}


async def test_answers_of_many_clients_are_not_mixed(server):
    expected = {q: server.reader.ask("handbook", q, max_new_tokens=6).text for q in QUESTIONS}
    sizes = []
    generate = server.reader.model.generate

    def counted(prefixes, *rest, **more):
        sizes.append(len(prefixes))
        return generate(prefixes, *rest, **more)

    server.reader.model.generate = counted
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=300) as client:

            async def one(number: int) -> bool:
                question = QUESTIONS[number % len(QUESTIONS)]
                found = await client.post("/api/collections/handbook/ask", json=body(question, stream=False))
                return found.json()["text"] == expected[question]

            assert all(await asyncio.gather(*(one(number) for number in range(40))))
    finally:
        del server.reader.model.generate
    assert sum(sizes) == 40 and max(sizes) > 1


async def test_a_full_queue_is_said_with_a_time(start):
    server = start(max_waiting=3)
    async with httpx.AsyncClient(base_url=server.url, timeout=300) as client:
        asked = (client.post("/api/collections/handbook/ask", json=body(q, 24, stream=False)) for q in QUESTIONS * 3)
        found = await asyncio.gather(*asked)
        codes = [response.status_code for response in found]
        assert set(codes) == {200, 429}
        refused = next(response for response in found if response.status_code == 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.json()["error"]["type"] == "rate_limit_error"
        # Afterwards there is room again.
        again = await client.post("/api/collections/handbook/ask", json=body(QUESTIONS[0], stream=False))
        assert again.status_code == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_its_work(start, stream):
    server = start()
    tickets = []
    submit = server.reader.submit
    server.reader.submit = lambda *given: tickets.append(submit(*given)) or tickets[-1]
    async with httpx.AsyncClient(base_url=server.url, timeout=300) as client:
        asked = {
            "model": "handbook",
            "messages": [{"role": "user", "content": "Who?"}],
            "max_tokens": 900,
            "stream": stream,
        }
        if stream:
            async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
                async for _ in response.aiter_lines():
                    break
        else:
            with pytest.raises(httpx.TimeoutException):
                await client.post("/v1/chat/completions", json=asked, timeout=0.5)
        until = time.monotonic() + 30
        while not (tickets and tickets[0].answer.done()) and time.monotonic() < until:
            await asyncio.sleep(0.02)
        answer = tickets[0].answer.result(0)
        assert answer.finish_reason == "cancelled" and answer.usage.answer_tokens < 900
        status = (await client.get("/api/status")).json()
        assert status["waiting"] == 0


async def test_a_follow_up_is_asked_with_the_question_before(server):
    async with httpx.AsyncClient(base_url=server.url, timeout=300) as client:
        history = [{"role": "user", "content": "Who approves leave?"}, {"role": "assistant", "content": "The warden"}]
        alone = await client.post(
            "/api/collections/handbook/ask", json=body("When does the ferry leave?", stream=False, history=history)
        )
        both = await client.post(
            "/api/collections/handbook/ask", json=body("And when is it sent?", stream=False, history=history)
        )
    assert not alone.json()["refers_back"] and both.json()["refers_back"]
    assert alone.json()["text"] == server.reader.ask("handbook", "When does the ferry leave?", max_new_tokens=6).text
    assert both.json()["sources"][0]["document"] == "leave.md"


async def test_an_error_behind_the_first_piece_ends_the_stream_with_it(server, monkeypatch):
    from rcc_integrations.errors import GenerationError
    from rcc_integrations.server.engine import Engine

    async def broken(self, make, *, held=False):
        yield "The "
        raise GenerationError("numbers overflowed")

    monkeypatch.setattr(Engine, "stream", broken)
    asked = {"model": "handbook", "messages": [{"role": "user", "content": "Who?"}], "stream": True}
    async with httpx.AsyncClient(base_url=server.url, timeout=300) as client:
        lines = (await client.post("/v1/chat/completions", json=asked)).text.strip().split("\n\n")
    assert json.loads(lines[-1][6:])["error"]["message"] == "numbers overflowed"
    assert "[DONE]" not in lines[-1]
