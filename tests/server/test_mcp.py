"""MCP through the SDK's own client."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("mcp")

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.server.conftest import TEXTS

TOOLS = {"list_collections", "list_documents", "ask", "search", "read_document", "add_text"}


def value(result) -> dict:
    assert not result.is_error, result.content
    return result.structured_content or json.loads(result.content[0].text)


async def test_over_http(start):
    server = start()
    async with Client(f"{server.url}/mcp") as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS
        names = [each["name"] for each in value(await client.call_tool("list_collections", {}))["collections"]]
        assert names == ["handbook"]
        answer = value(await client.call_tool("ask", {"collection": "handbook", "question": "Who approves leave?"}))
        for span in answer["spans"]:
            assert TEXTS[span["document"]][span["start"] : span["end"]] in answer["text"]
        assert answer["spans"] or not answer["stated"]
        found = value(await client.call_tool("search", {"collection": "handbook", "query": "ferry to Holm", "k": 1}))
        source = found["sources"][0]
        assert source["document"] == "ferry.md"
        part = {"collection": "handbook", "document": "ferry.md", "start": source["start"], "end": source["end"]}
        assert value(await client.call_tool("read_document", part))["text"] == source["text"]
        text = {"collection": "isle", "document": "bell.md", "text": "The bell rings twice."}
        assert value(await client.call_tool("add_text", text))["files"] == [{"id": "bell.md", "state": "added"}]
        assert server.reader.text("isle", "bell.md") == "The bell rings twice."
        wrong = await client.call_tool("ask", {"collection": "hand", "question": "Who?"})
        assert wrong.is_error and "Did you mean 'handbook'" in wrong.content[0].text


@pytest.mark.parametrize("through_server", [False, True])
async def test_over_stdio(start, saved_model, tmp_path, monkeypatch, through_server):
    server = start()
    monkeypatch.setenv("RCC_RUN", str(tmp_path / "run"))
    if through_server:
        from rcc_integrations.server.notice import Note

        note = Note(server.reader.store.id, server.reader.store.path, [str(saved_model), None])
        note.write(server.url)
    arguments = ["-m", "rcc_integrations.cli", "--store", str(server.reader.store.path), "--model", str(saved_model),
                 "--device", "cpu", "mcp"]  # fmt: skip
    import os

    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
    async with Client(stdio_client(parameters)) as client:
        found = value(await client.call_tool("search", {"collection": "handbook", "query": "warden"}))
        assert found["sources"][0]["document"] == "leave.md"
        answer = value(await client.call_tool("ask", {"collection": "handbook", "question": "Who approves leave?"}))
        assert answer["collection"] == "handbook"
