import asyncio
from pathlib import Path
from typing import Any, Literal

import pytest
from llama_index.core.base.llms.types import ChatMessage, DocumentBlock, ImageBlock, TextBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field, ValidationError

from rcc_integrations import RCCReader
from rcc_integrations.errors import ConfigError, GenerationError, UnknownCollectionError
from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex


class Boat(BaseModel):
    """A boat."""

    name: str = Field(max_length=12)
    kind: Literal["ferry", "tug"]
    masts: int = Field(ge=0, le=9)


def tide(place: Literal["Holm", "Varde"], hour: int) -> str:
    """Tell the tide at a place."""
    return f"high at {place}"


def user(text: str) -> list[ChatMessage]:
    return [ChatMessage(text)]


@pytest.fixture
def chat(index: RCCMemoryIndex) -> RCCLLM:
    return RCCLLM(reader=index.reader, collection="isle", max_tokens=16, min_tokens=6)


async def test_all_eight_ways_say_what_the_reader_says(chat: RCCLLM) -> None:
    question = "Who approves leave?"
    wanted = chat.memory.ask("isle", question, max_new_tokens=16, min_new_tokens=6)
    said = chat.chat(user(question))
    assert said.message.content == wanted.text and said.raw["answer"].usage == wanted.usage
    assert said.additional_kwargs["memory_slots"] == wanted.usage.memory_slots > 0
    assert (await chat.achat(user(question))).message.content == wanted.text
    assert chat.complete(question).text == (await chat.acomplete(question)).text == wanted.text
    items = list(chat.stream_chat(user(question)))
    assert len(items) > 2 and items[-1].message.content == wanted.text == "".join(str(item.delta) for item in items)
    assert items[-1].raw["answer"].sources and items[1].message.content == str(items[0].delta) + str(items[1].delta)
    aitems = [item async for item in await chat.astream_chat(user(question))]
    assert [item.delta for item in aitems] == [item.delta for item in items]
    assert "".join(str(item.delta) for item in chat.stream_complete(question)) == wanted.text
    assert "".join([str(item.delta) async for item in await chat.astream_complete(question)]) == wanted.text


def test_metadata_are_exact_and_nothing_is_loaded_before_they_are_asked(chat: RCCLLM, tmp_path: Any) -> None:
    told = chat.metadata
    assert told.context_window == chat.memory.model.reach and told.num_output == 16
    assert told.is_chat_model and told.is_function_calling_model
    assert not (tmp_path / "new").exists() and not RCCLLM(store=tmp_path / "new")._memory.is_open
    assert not (tmp_path / "new").exists()


def test_misspelt_and_wrong_settings_are_errors(chat: RCCLLM, reader: RCCReader) -> None:
    with pytest.raises(ValidationError, match="temperatur"):
        RCCLLM(reader=reader, temperatur=1.0)
    with pytest.raises(ValidationError, match="temperature"):
        RCCLLM(reader=reader, temperature=-1)
    with pytest.raises(ConfigError, match="colection"):
        chat.complete("Who?", colection="isle")
    with pytest.raises(UnknownCollectionError, match="nowhere"):
        chat.complete("Who?", collection="nowhere")
    with pytest.raises(ConfigError, match="'image'"):
        chat.chat([ChatMessage([ImageBlock(image=b"\x89PNG")])])


def test_stop_is_cut_and_said_alike_everywhere(chat: RCCLLM) -> None:
    whole = chat.complete("When?", min_tokens=0).text
    stop = whole[4:6]
    wanted = whole[: whole.index(stop)].rstrip()
    assert chat.complete("When?", min_tokens=0, stop=[stop]).text == wanted
    streamed = chat.stream_complete("When?", min_tokens=0, stop=[stop])
    assert "".join(str(item.delta) for item in streamed) == wanted


def test_a_document_block_becomes_memory(chat: RCCLLM) -> None:
    block = DocumentBlock(data=b"Ines Calder works as a harbour pilot.", document_mimetype="text/plain")
    message = ChatMessage([block, TextBlock(text="Who is a pilot?")])
    said = chat.chat([message], collection=None)
    answer = said.raw["answer"]
    assert answer.usage.memory_slots > 0 and answer.sources[0].text.startswith("Ines Calder")


@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_a_required_call_always_fits_its_schema(chat: RCCLLM, temperature: float) -> None:
    tools = [FunctionTool.from_defaults(tide)]
    settings = {"temperature": temperature, "seed": 3, "max_tokens": 200, "tool_required": True}
    said = chat.chat_with_tools(tools, "Is it high tide?", **settings)
    (call,) = chat.get_tool_calls_from_response(said)
    assert call.tool_name == "tide" and call.tool_kwargs["place"] in ("Holm", "Varde")
    assert isinstance(call.tool_kwargs["hour"], int) and call.tool_id
    again = await chat.achat_with_tools(tools, "Is it high tide?", **settings)
    assert chat.get_tool_calls_from_response(again)[0].tool_kwargs == call.tool_kwargs
    last = list(chat.stream_chat_with_tools(tools, "Is it high tide?", **settings))[-1]
    assert chat.get_tool_calls_from_response(last)[0].tool_kwargs == call.tool_kwargs


def test_a_tool_is_called_and_its_result_read(chat: RCCLLM) -> None:
    done = chat.predict_and_call([FunctionTool.from_defaults(tide)], "High?", tool_required=True, max_tokens=200)
    assert done.response.startswith("high at ")
    history = [*user("High?"), ChatMessage("high", role="tool", additional_kwargs={"tool_call_id": "1"})]
    assert chat.chat(history).message.content


def test_without_a_call_an_error_says_so(chat: RCCLLM) -> None:
    with pytest.raises(ValueError, match="tool_required"):
        chat.get_tool_calls_from_response(chat.chat(user("Who?")))


PROMPT = PromptTemplate("Which boat is at {place}?")


async def test_structured_prediction(chat: RCCLLM) -> None:
    options = {"llm_kwargs": {"max_tokens": 200}}
    boat = chat.structured_predict(Boat, PROMPT, place="Holm", **options)
    assert isinstance(boat, Boat)
    assert await chat.astructured_predict(Boat, PROMPT, place="Holm", **options) == boat
    said = chat.as_structured_llm(Boat).complete("Which boat?", max_tokens=200)
    assert isinstance(said.raw, Boat)
    with pytest.raises(GenerationError, match="max_tokens"):
        chat.structured_predict(Boat, PROMPT, place="Holm", llm_kwargs={"max_tokens": 3, "min_tokens": 0})


async def test_an_object_grows_while_it_is_written(chat: RCCLLM) -> None:
    options = {"llm_kwargs": {"max_tokens": 200}}
    parts = list(chat.stream_structured_predict(Boat, PROMPT, place="Holm", **options))
    assert isinstance(parts[-1], Boat) and len(parts) > 3
    named = [part for part in parts if part.name is not None]
    assert len(named) < len(parts) and any(part.masts is None for part in named)  # one field after the other
    streamed = await chat.astream_structured_predict(Boat, PROMPT, place="Holm", **options)
    assert [part async for part in streamed][-1] == parts[-1]
    with pytest.raises(GenerationError, match="max_tokens"):
        list(chat.stream_structured_predict(Boat, PROMPT, place="Holm", llm_kwargs={"max_tokens": 3, "min_tokens": 0}))


async def test_tokens_are_counted_by_the_frameworks_own_counter(reader: RCCReader, index: RCCMemoryIndex) -> None:
    counter = TokenCountingHandler(tokenizer=str.split)
    llm = RCCLLM(
        reader=reader, collection="isle", max_tokens=16, min_tokens=16, callback_manager=CallbackManager([counter])
    )
    asked = [llm.chat(user("Who approves leave?")), llm.complete("Who?"), await llm.achat(user("Who?"))]
    asked += [list(llm.stream_chat(user("Who?")))[-1], list(llm.stream_complete("Who?"))[-1]]
    assert [event.completion_token_count for event in counter.llm_token_counts] == [16] * 5
    assert counter.prompt_llm_token_count == sum(said.additional_kwargs["prompt_tokens"] for said in asked)
    assert asked[0].additional_kwargs["prompt_tokens"] > asked[0].additional_kwargs["memory_slots"] > 0


def test_it_can_be_written_down(tmp_path: Path) -> None:
    written = RCCLLM(store=tmp_path / "memory", collection="isle", stop=["."]).to_json()
    again = RCCLLM.from_json(written)
    assert again.store == tmp_path / "memory" and again.stop == ["."] and "reader" not in written


def test_windows_are_chosen_by_the_question_that_is_named(chat: RCCLLM) -> None:
    said = chat.chat(user("And there?"), question="When was the lighthouse built?", max_windows=1)
    assert said.raw["answer"].sources[0].document == "isle.md"


async def test_parallel_calls_share_a_batch_and_leave_the_loop_free(chat: RCCLLM, monkeypatch: Any) -> None:
    sizes: list[int] = []
    model = chat.memory.model
    generate = model.generate
    monkeypatch.setattr(
        model, "generate", lambda given, *a, **k: (sizes.append(len(given)), generate(given, *a, **k))[1]
    )
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(chat.acomplete(f"Number {n}?", max_tokens=60, min_tokens=60) for n in range(6)))
    ticking.cancel()
    assert max(sizes) >= 3 and ticks >= 5
