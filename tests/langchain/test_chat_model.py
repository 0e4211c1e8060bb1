from __future__ import annotations

import asyncio
import base64
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import ValidationError

from rcc_integrations import RCCReader
from rcc_integrations.errors import BudgetError, ConfigError, GenerationError, UnknownCollectionError
from rcc_integrations.langchain import RCCChatModel


def chat(reader: RCCReader, **options: Any) -> RCCChatModel:
    return RCCChatModel(reader=reader, **{"collection": "isle", "max_tokens": 24, "min_tokens": 8, **options})


def test_construction_opens_and_loads_nothing(tmp_path: Path) -> None:
    model = RCCChatModel(store=tmp_path / "store", collection="isle")
    assert not model._memory.is_open and not (tmp_path / "store").exists()


def test_a_misspelt_setting_is_an_error(reader: RCCReader) -> None:
    with pytest.raises(ValidationError, match="temperatur"):
        RCCChatModel(reader=reader, temperatur=1.0)
    with pytest.raises(ConfigError, match="colection"):
        chat(reader).invoke("Who?", colection="isle")
    with pytest.raises(ValidationError, match="not both"):
        RCCChatModel(reader=reader, store="x")
    with pytest.raises(ValidationError, match="temperature"):
        RCCChatModel(reader=reader, temperature=-1)


def test_an_answer_is_the_readers(reader: RCCReader) -> None:
    said = chat(reader).invoke("Who approves leave?")
    answer = reader.ask("isle", "Who approves leave?", max_new_tokens=24, min_new_tokens=8)
    assert said.content == answer.text
    assert said.usage_metadata is not None
    assert said.usage_metadata["input_token_details"]["cache_read"] == answer.usage.memory_slots > 0
    assert said.usage_metadata["input_tokens"] == answer.usage.memory_slots + answer.usage.question_tokens
    assert said.usage_metadata["output_tokens"] == answer.usage.answer_tokens
    told = said.response_metadata
    assert told["collection"] == "isle" and told["finish_reason"] == answer.finish_reason and told["model_name"]
    assert told["sources"][0]["text"] == answer.sources[0].text and told["timings"]["total"] > 0


def test_streaming_says_the_same_and_counts_once(reader: RCCReader) -> None:
    model = chat(reader)
    chunks = list(model.stream("Who approves leave?"))
    assert "".join(chunk.text for chunk in chunks) == model.invoke("Who approves leave?").text
    assert len(chunks) > 2
    assert [chunk.usage_metadata is not None for chunk in chunks].count(True) == 1
    assert chunks[-1].response_metadata["sources"]


def test_the_collection_of_a_call(reader: RCCReader) -> None:
    reader.add("other", {"a.md": "Nobody sails in a storm."})
    model = chat(reader)
    bound = model.bind(collection="other").invoke("Who sails?")
    configured = model.invoke("Who sails?", config={"configurable": {"collection": "other"}})
    assert bound.response_metadata["collection"] == configured.response_metadata["collection"] == "other"
    assert bound.content == configured.content
    streamed = list(model.stream("Who sails?", config={"configurable": {"collection": "other"}}))
    assert streamed[-1].response_metadata["collection"] == "other"


def test_without_a_collection_the_base_answers(reader: RCCReader) -> None:
    said = chat(reader, collection=None).invoke("Who approves leave?")
    assert said.usage_metadata is not None and said.usage_metadata["input_token_details"]["cache_read"] == 0
    assert said.text and "collection" not in said.response_metadata


def test_stop_cuts_at_the_first_occurrence_wherever_tokens_end(reader: RCCReader) -> None:
    model = chat(reader, min_tokens=0)
    whole = model.invoke("When?").text
    stop = whole[5:8]
    wanted = whole[: whole.index(stop)].rstrip()
    assert model.invoke("When?", stop=[stop]).text == wanted
    assert "".join(chunk.text for chunk in model.stream("When?", stop=[stop])) == wanted
    # Stops of the model and of the call hold together.
    assert chat(reader, min_tokens=0, stop=[stop]).invoke("When?", stop=["\u2603"]).text == wanted


def test_langchains_cache_knows_settings_and_documents(reader: RCCReader) -> None:
    model = chat(reader, cache=InMemoryCache())
    asked: list[int] = []
    answer = reader._engine.generate
    reader._engine.generate = lambda *args, **more: (asked.append(1), answer(*args, **more))[1]  # type: ignore[method-assign]
    first = model.invoke("Who approves leave?")
    assert model.invoke("Who approves leave?").content == first.content and len(asked) == 1
    other = chat(reader, cache=model.cache, repetition_penalty=1.5)
    other.invoke("Who approves leave?")
    assert len(asked) == 2
    reader.add("isle", {"isle.md": "The isle of Holm has ten farms."})
    model.invoke("Who approves leave?")
    assert len(asked) == 3
    # A collection of the call counts as much as that of the model.
    plain = chat(reader, cache=InMemoryCache(), collection=None)
    plain.invoke("Who?", collection="isle")
    plain.invoke("Who?", collection="isle")
    assert len(asked) == 4
    reader.add("isle", {"isle.md": "The isle of Holm has two farms."})
    plain.invoke("Who?", collection="isle")
    assert len(asked) == 5


def test_tokens_are_counted_by_the_models_own_tokenizer(reader: RCCReader) -> None:
    model = chat(reader)
    text = "Nobody sails <|im_end|> at 7:45."
    assert model.get_token_ids(text) == reader.model.tokenizer(text, add_special_tokens=False)["input_ids"]
    said = model.invoke("Who approves leave?")
    assert said.usage_metadata is not None
    assert (
        model.get_num_tokens_from_messages([HumanMessage("Who approves leave?")]) == said.usage_metadata["input_tokens"]
    )


def test_a_document_block_is_compressed_once(reader: RCCReader) -> None:
    model = chat(reader, collection=None)
    block = {"type": "text-plain", "text": "Ines Calder works as a harbour pilot.", "mime_type": "text/plain"}
    message = HumanMessage([block, {"type": "text", "text": "Who is a pilot?"}])
    said = model.invoke([message])
    assert said.usage_metadata is not None and said.usage_metadata["input_token_details"]["cache_read"] > 0
    assert said.response_metadata["sources"][0]["text"] == block["text"]
    compressed: list[int] = []
    compress = reader.model.compress_batches
    reader.model.compress_batches = lambda *args: (compressed.append(1), compress(*args))[1]  # type: ignore[method-assign]
    try:
        assert model.invoke([message]).content == said.content and not sum(compressed) > 1
        file = {"type": "file", "mime_type": "text/plain", "base64": base64.b64encode(block["text"].encode()).decode()}
        again = model.invoke([HumanMessage([file, {"type": "text", "text": "Who is a pilot?"}])])
    finally:
        del reader.model.compress_batches
    assert again.content == said.content


def test_a_document_and_a_collection_together(reader: RCCReader) -> None:
    block = {"type": "text-plain", "text": "Ines Calder works as a harbour pilot.", "mime_type": "text/plain"}
    said = chat(reader).invoke([HumanMessage([block, {"type": "text", "text": "Who is a pilot?"}])])
    assert said.usage_metadata is not None
    slots = said.usage_metadata["input_token_details"]["cache_read"]
    assert slots > reader.ask("isle", "Who?").usage.memory_slots


def test_long_text_of_a_message_becomes_memory(reader: RCCReader) -> None:
    text = "Nobody sails in a storm, and the bell rings twice. " * 8
    model = chat(reader, collection=None, compress_over=50)
    said = model.invoke([HumanMessage(text), HumanMessage("How often does the bell ring?")])
    assert said.usage_metadata is not None and said.usage_metadata["input_token_details"]["cache_read"] > 0
    clear = chat(reader, collection=None, compress_over=None).invoke(text)
    assert clear.usage_metadata is not None and clear.usage_metadata["input_token_details"]["cache_read"] == 0


def test_what_it_cannot_read_is_named(reader: RCCReader) -> None:
    image = {"type": "image", "url": "https://example.com/a.png"}
    with pytest.raises(ConfigError, match="'image'"):
        chat(reader).invoke([HumanMessage([image])])
    with pytest.raises(ConfigError, match="base64"):
        chat(reader).invoke([HumanMessage([{"type": "file", "base64": "no!", "mime_type": "text/plain"}])])
    with pytest.raises(ConfigError, match="fetch"):
        chat(reader).invoke([HumanMessage([{"type": "file", "url": "https://example.com/a.pdf"}])])


def test_conversations_of_any_shape(reader: RCCReader) -> None:
    call = {"name": "tide", "args": {"at": "Holm"}, "id": "1"}
    messages = [
        SystemMessage("Be brief."),
        HumanMessage("Hello"),
        HumanMessage("When is high tide?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("7:45", tool_call_id="1", name="tide"),
        SystemMessage("Answer in words."),
    ]
    for collection in ("isle", None):
        assert chat(reader, collection=collection).invoke(messages).text


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_errors_reach_the_caller(reader: RCCReader, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(model: RCCChatModel) -> None:
        if way == "invoke":
            model.invoke("Who?")
        elif way == "stream":
            list(model.stream("Who?"))
        elif way == "ainvoke":
            await model.ainvoke("Who?")
        else:
            [chunk async for chunk in model.astream("Who?")]

    with pytest.raises(UnknownCollectionError, match="nowhere"):
        await run(chat(reader, collection="nowhere"))
    with pytest.raises(BudgetError):
        await run(chat(reader, max_tokens=5000))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(reader.model.decoder, "generate", broken)
    with pytest.raises(RuntimeError, match="out of order"):
        await run(chat(reader))


async def test_the_event_loop_ticks_while_it_answers(reader: RCCReader) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    model = chat(reader, max_tokens=300, min_tokens=300)
    await model.ainvoke("Who?")
    during = ticks
    async for _ in model.astream("When?"):
        pass
    ticking.cancel()
    assert during >= 5 and ticks > during


async def test_parallel_questions_are_answered_in_one_batch(reader: RCCReader) -> None:
    sizes: list[int] = []
    generate = reader.model.generate
    reader.model.generate = lambda prefixes, *args, **more: (
        sizes.append(len(prefixes)),
        generate(prefixes, *args, **more),
    )[1]  # type: ignore[method-assign]
    try:
        model = chat(reader)
        alone = [model.invoke(f"Who is number {number}?").text for number in range(6)]
        sizes.clear()
        together = await asyncio.gather(*(model.ainvoke(f"Who is number {number}?") for number in range(6)))
        batched = model.batch([f"Who is number {number}?" for number in range(6)])
    finally:
        del reader.model.generate
    assert [said.text for said in together] == alone == [said.text for said in batched]
    assert max(sizes) >= 4


async def test_a_cancelled_question_stops(reader: RCCReader, monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat(reader, max_tokens=900, min_tokens=900)
    cancels: list[threading.Event] = []
    generate = reader._engine.generate
    monkeypatch.setattr(reader._engine, "generate", lambda *args: (cancels.extend(args[2]), generate(*args))[1])
    task = asyncio.create_task(model.ainvoke("Who?"))
    while not cancels:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stream = model.stream("Who?")
    next(stream)
    stream.close()
    # What was cancelled is over before its end, or the next one would wait for it.
    chat(reader, max_tokens=1, min_tokens=0).invoke("When?")
    assert [event.is_set() for event in cancels] == [True, True, False]


def test_a_timeout_gives_up(reader: RCCReader) -> None:
    with pytest.raises(GenerationError, match=r"0\.01 seconds"):
        chat(reader, max_tokens=900, min_tokens=900, timeout=0.01).invoke("Who?")


def test_threads_share_one_model(reader: RCCReader) -> None:
    model = chat(reader)
    wanted = model.invoke("Who?").text
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(model.invoke("Who?").text)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [wanted] * 8
