"""OpenAI's interfaces, through OpenAI's own client."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import httpx
import pytest

openai = pytest.importorskip("openai")

ASKED = [{"role": "user", "content": "Who approves leave?"}]
SCHEMA = {"type": "object", "properties": {"when": {"type": "string", "maxLength": 8}}, "required": ["when"],
          "additionalProperties": False}  # fmt: skip
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "call_ferry", "description": "Calls the ferry.", "parameters": {
    "type": "object", "properties": {"hour": {"enum": [7, 9]}}, "required": ["hour"]}}}  # fmt: skip


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def test_collections_are_models(client):
    assert [model.id for model in client.models.list()] == ["handbook", "rcc"]
    assert client.models.retrieve("handbook").owned_by == "rcc-integrations"
    with pytest.raises(openai.NotFoundError, match=r"no collection 'hand'\. Did you mean 'handbook'"):
        client.models.retrieve("hand")


def test_chat_says_what_the_reader_says(client, server):
    expected = server.reader.ask("handbook", "Who approves leave?", max_new_tokens=12)
    found = client.chat.completions.create(model="handbook", messages=ASKED, max_tokens=12)
    assert found.choices[0].message.content == expected.text
    assert found.choices[0].finish_reason == "length"
    usage = found.usage
    assert usage.prompt_tokens_details.cached_tokens == expected.usage.memory_slots > 0
    assert usage.prompt_tokens == expected.usage.memory_slots + expected.usage.question_tokens
    assert usage.completion_tokens == expected.usage.answer_tokens == 12
    assert found.rcc["confidence"] == pytest.approx(expected.confidence, abs=1e-3)
    assert [source["document"] for source in found.rcc["sources"]] == [each.document for each in expected.sources]


def test_a_stream_has_the_same_words_usage_and_an_end(client, server):
    whole = client.chat.completions.create(model="handbook", messages=ASKED, max_tokens=12)
    chunks = list(client.chat.completions.create(
        model="handbook", messages=ASKED, max_tokens=12, stream=True, stream_options={"include_usage": True}))  # fmt: skip
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "length"
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert len({chunk.id for chunk in chunks}) == 1


def test_grounded_answers_are_cited(client, server):
    found = client.chat.completions.create(
        model="handbook",
        messages=ASKED,
        max_tokens=24,
        extra_body={"rcc": {"grounded": True, "documents": ["leave.md"]}},
    )
    text, spans = found.choices[0].message.content, found.rcc["spans"]
    stored = server.reader.text("handbook", "leave.md")
    assert text == "not stated" or stored[spans[0]["start"] : spans[0]["end"]] in text
    for annotation in found.choices[0].message.annotations:
        assert annotation.type == "url_citation"
        assert annotation.url_citation.url.startswith(f"{server.url}/#/handbook/leave.md?start=")


def test_a_response_format_is_kept(client):
    form = {"type": "json_schema", "json_schema": {"name": "time", "schema": SCHEMA}}
    found = client.chat.completions.create(model="handbook", messages=ASKED, max_tokens=60, response_format=form)
    assert set(json.loads(found.choices[0].message.content)) == {"when"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_forced_tool_is_called(client, stream):
    found = client.chat.completions.create(
        model="handbook", messages=ASKED, tools=[TOOL], tool_choice="required", max_tokens=120, stream=stream
    )
    if stream:
        chunks = [chunk.choices[0] for chunk in found if chunk.choices]
        calls = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
        assert chunks[-1].finish_reason == "tool_calls"
    else:
        calls = found.choices[0].message.tool_calls
        assert found.choices[0].finish_reason == "tool_calls"
    assert calls[0].function.name == "call_ferry"
    assert json.loads(calls[0].function.arguments)["hour"] in (7, 9)


def test_stop_and_seed(client):
    def asked(**more):
        found = client.chat.completions.create(model="handbook", messages=ASKED, max_tokens=12, **more)
        return found.choices[0].message.content

    plain = asked()
    assert asked(stop=[plain[3:5]]) == plain[: plain.index(plain[3:5])]
    assert asked(temperature=1, seed=7) == asked(temperature=1, seed=7)


def test_the_base_model_answers_without_documents(client):
    found = client.chat.completions.create(model="rcc", messages=ASKED, max_tokens=4)
    assert found.usage.prompt_tokens_details.cached_tokens == 0
    assert "rcc" not in found.model_extra


@pytest.mark.parametrize(
    ("more", "status", "code", "param"),
    [
        ({"model": "nobody"}, 404, "model_not_found", "model"),
        ({"extra_body": {"wings": 2}}, 400, "unknown_parameter", "wings"),
        ({"extra_body": {"rcc": {"wings": 2}}}, 400, "unknown_parameter", "rcc.wings"),
        ({"n": 2}, 400, "unsupported_value", "n"),
        ({"logprobs": True}, 400, "unsupported_value", "logprobs"),
        ({"frequency_penalty": 1.0}, 400, "unsupported_value", "frequency_penalty"),
        ({"temperature": 3}, 400, "invalid_value", "temperature"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"max_tokens": 5000}, 400, "context_length_exceeded", None),
        ({"extra_body": {"rcc": {"documents": ["gone.md"]}}}, 404, "document_not_found", None),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "invalid_value",
         "messages[0].content[0].type"),
    ],
)  # fmt: skip
def test_errors_have_openais_shape(client, more, status, code, param):
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(**{"model": "handbook", "messages": ASKED, **more})
    assert (caught.value.status_code, caught.value.code, caught.value.param) == (status, code, param)
    assert caught.value.type == "invalid_request_error"


def test_completions(client, server):
    expected = server.reader.ask("handbook", "Who approves leave?", max_new_tokens=8).text
    found = client.completions.create(model="handbook", prompt="Who approves leave?", max_tokens=8)
    assert found.choices[0].text == expected
    chunks = client.completions.create(model="handbook", prompt="Who approves leave?", max_tokens=8, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == expected
    two = client.completions.create(model="handbook", prompt=["Who approves leave?", "When?"], max_tokens=8)
    assert two.choices[0].text == expected and len(two.choices) == 2


def test_files_and_vector_stores(client, server):
    file = client.files.create(
        file=("bell.txt", b"The bell rings twice. Nobody sails in a storm."), purpose="assistants"
    )
    assert client.files.retrieve(file.id).filename == "bell.txt"
    assert client.files.content(file.id).read() == b"The bell rings twice. Nobody sails in a storm."
    store = client.vector_stores.create(name="isle", expires_after={"anchor": "last_active_at", "days": 2})
    assert store.expires_at > store.created_at + 2 * 86400 - 5
    added = client.vector_stores.files.create_and_poll(
        vector_store_id=store.id, file_id=file.id, attributes={"year": 1999}
    )
    assert added.status == "completed" and added.attributes == {"year": 1999}
    batch = client.vector_stores.file_batches.upload_and_poll(
        store.id, files=[("fog.txt", b"Once for fog, once for ice."), ("bell.txt", b"Another bell.")]
    )
    assert batch.status == "completed" and batch.file_counts.completed == 2
    assert sorted(record.id for record in server.reader.documents("isle")) == ["bell (2).txt", "bell.txt", "fog.txt"]
    best = client.vector_stores.search(store.id, query="Who sails in a storm?").data[0]
    assert (best.file_id, best.filename, best.attributes["year"]) == (file.id, "bell.txt", 1999)
    text = server.reader.text("isle", "bell.txt")
    assert text[int(best.attributes["start"]) : int(best.attributes["end"])] == best.content[0].text
    newer = {"type": "gt", "key": "year", "value": 2000}
    assert client.vector_stores.search(store.id, query="storm", filters=newer).data == []
    counts = client.vector_stores.retrieve(store.id).file_counts
    assert (counts.completed, counts.total) == (3, 3)
    client.vector_stores.files.delete(file.id, vector_store_id=store.id)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)
    client.vector_stores.update(store.id, name="islet")
    assert "islet" in [model.id for model in client.models.list()]
    client.vector_stores.delete(store.id)
    assert "islet" not in [model.id for model in client.models.list()]


def test_a_file_that_cannot_be_read_is_refused(client):
    with pytest.raises(openai.BadRequestError, match=r"'noise.bin' cannot be read"):
        client.files.create(file=("noise.bin", bytes(range(256)) * 40), purpose="assistants")


def test_responses_with_file_search(client, server):
    uid = server.reader.store.collection("handbook").uid
    tool = {"type": "file_search", "vector_store_ids": [f"vs_{uid}"], "max_num_results": 2}
    found = client.responses.create(
        model="rcc", input="Who approves leave?", tools=[tool], max_output_tokens=12,
        include=["file_search_call.results"], extra_body={"rcc": {"grounded": True}},
    )  # fmt: skip
    search, message = found.output
    assert search.type == "file_search_call" and search.status == "completed"
    assert search.results[0].filename == "leave.md"
    assert found.output_text == message.content[0].text
    assert found.usage.input_tokens_details.cached_tokens > 0
    for annotation in message.content[0].annotations:
        assert annotation.type == "file_citation"
        place = annotation.rcc
        assert server.reader.text("handbook", annotation.filename)[place["start"] : place["end"]] == place["text"]
    again = client.responses.create(
        model="handbook", input="And when?", previous_response_id=found.id, max_output_tokens=4
    )
    assert again.status == "incomplete" and again.previous_response_id == found.id
    assert client.responses.retrieve(found.id).output_text == found.output_text
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="handbook", input="And?", previous_response_id="resp_none")


def test_responses_stream(client):
    with client.responses.stream(model="handbook", input="Who approves leave?", max_output_tokens=8) as stream:
        kinds = []
        text = ""
        for each in stream:
            kinds.append(each.type)
            if each.type == "response.output_text.delta":
                text += each.delta
        whole = stream.get_final_response() if "response.completed" in kinds else None
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] in ("response.completed", "response.incomplete")
    plain = client.responses.create(model="handbook", input="Who approves leave?", max_output_tokens=8)
    assert text == plain.output_text and (whole is None or whole.output_text == text)


def test_responses_call_functions(client):
    function = {"type": "function", **TOOL["function"]}
    found = client.responses.create(
        model="handbook", input="Call the ferry.", tools=[function], tool_choice="required", max_output_tokens=120
    )
    (call,) = found.output
    assert call.type == "function_call" and call.name == "call_ferry"


def test_langchains_chat_model(server):
    chat = pytest.importorskip("langchain_openai").ChatOpenAI(
        model="handbook", base_url=f"{server.url}/v1", api_key="unused", max_completion_tokens=8, max_retries=0
    )
    expected = server.reader.ask("handbook", "Who approves leave?", max_new_tokens=8).text
    assert chat.invoke("Who approves leave?").content == expected
    assert "".join(str(chunk.content) for chunk in chat.stream("Who approves leave?")) == expected


def test_llamaindexs_openai_like(server):
    like = pytest.importorskip("llama_index.llms.openai_like").OpenAILike
    expected = server.reader.ask("handbook", "Who approves leave?", max_new_tokens=8).text
    for chat in (False, True):
        model = like(model="handbook", api_base=f"{server.url}/v1", api_key="unused", max_tokens=8, is_chat_model=chat, temperature=0,
                     context_window=1024)  # fmt: skip
        assert model.complete("Who approves leave?").text == expected
        assert "".join(each.delta for each in model.stream_complete("Who approves leave?")) == expected


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_sees_the_stream(server):
    body = json.dumps({"model": "handbook", "messages": ASKED, "max_tokens": 6, "stream": True})
    command = ["curl", "-sN", f"{server.url}/v1/chat/completions", "-H", "Content-Type: application/json", "-d", body]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    assert all(line.startswith("data: ") for line in lines[:-1])


def test_open_webui_gets_passages_as_events_and_no_annotations(server):
    body = {"model": "handbook", "messages": ASKED, "max_tokens": 30, "stream": True, "rcc": {"grounded": True}}
    text = httpx.post(f"{server.url}/open-webui/v1/chat/completions", json=body).text
    chunks = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
    events = [chunk["event"] for chunk in chunks if "event" in chunk]
    cited = chunks[-1]["rcc"]["spans"] or chunks[-1]["rcc"]["support"]
    assert len(events) == len(cited)
    assert all(event["type"] == "source" and event["data"]["document"] for event in events)
    assert not any("annotations" in chunk["choices"][0]["delta"] for chunk in chunks)


def test_open_webuis_housekeeping_is_not_asked_of_the_documents(client, server):
    prompt = (
        '### Task:\nGenerate a concise, 3-5 word title.\n### Output:\nJSON format: { "title": "your title here" }\n'
        "### Chat History:\n<chat_history>\nUSER: Who approves leave in spring?\nASSISTANT: The warden\n</chat_history>"
    )
    found = client.chat.completions.create(model="handbook", messages=[{"role": "user", "content": prompt}])
    assert json.loads(found.choices[0].message.content) == {"title": "Who approves leave in spring?"}
    assert found.usage.total_tokens == 0
    rag = (
        "### Task:\nRespond to the user query using the provided context.\n### Output:\nAn answer.\nWho approves leave?"
    )
    asked = client.chat.completions.create(model="handbook", messages=[{"role": "user", "content": rag}], max_tokens=4)
    assert asked.usage.total_tokens > 0
