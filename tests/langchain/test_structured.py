from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from rcc_integrations import RCCReader
from rcc_integrations.errors import ConfigError, GenerationError
from rcc_integrations.langchain import RCCChatModel


class Boat(BaseModel):
    """A boat."""

    name: str = Field(max_length=12)
    kind: Literal["ferry", "tug"]
    masts: int = Field(ge=0, le=9)


class Place(TypedDict):
    """A place."""

    name: str


@tool
def tide(place: Literal["Holm", "Varde"], hour: int) -> str:
    """Tell the tide at a place."""
    return "high"


@tool
def ring() -> str:
    """Ring the bell."""
    return "ding"


def chat(reader: RCCReader, **options: Any) -> RCCChatModel:
    return RCCChatModel(reader=reader, **{"collection": "isle", "max_tokens": 400, **options})


@pytest.mark.parametrize("collection", ["isle", None])
@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_forced_call_always_fits_its_schema(reader: RCCReader, collection: str | None, temperature: float) -> None:
    model = chat(reader, collection=collection, temperature=temperature, seed=3)
    for choice, names in (("any", {"tide", "ring"}), ("ring", {"ring"}), ("tide", {"tide"})):
        said = model.bind_tools([tide, ring], tool_choice=choice).invoke("Is it high tide at Holm?")
        (call,) = said.tool_calls
        assert call["name"] in names and call["id"]
        if call["name"] == "tide":
            tide.args_schema.model_validate(call["args"])  # type: ignore[union-attr]
        else:
            assert call["args"] == {}
        assert said.response_metadata["finish_reason"] == "tool_calls"


def test_a_streamed_call_is_the_same(reader: RCCReader) -> None:
    bound = chat(reader).bind_tools([tide], tool_choice="any")
    whole = bound.invoke("Is it high tide?")
    full: Any = None
    for chunk in bound.stream("Is it high tide?"):
        full = chunk if full is None else full + chunk
    assert full.tool_calls[0]["args"] == whole.tool_calls[0]["args"] and full.content == whole.content


def test_no_choice_means_no_call(reader: RCCReader) -> None:
    said = chat(reader, max_tokens=30, min_tokens=5).bind_tools([tide], tool_choice="none").invoke("Is it high tide?")
    assert not said.tool_calls and said.text


def test_an_unknown_tool_is_refused_when_it_is_bound(reader: RCCReader) -> None:
    with pytest.raises(ConfigError, match=r"'moon'.*tide"):
        chat(reader).bind_tools([tide], tool_choice="moon")


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("schema", [Boat, Place, Boat.model_json_schema()])
def test_structured_output_always_validates(reader: RCCReader, schema: Any, method: str) -> None:
    model = chat(reader, temperature=1.0, seed=5)
    found = model.with_structured_output(schema, method=method).invoke("Which boat?")
    if schema is Boat:
        assert isinstance(found, Boat)
    elif schema is Place:
        assert isinstance(found["name"], str)
    else:
        Boat.model_validate(found)
    raw = model.with_structured_output(schema, method=method, include_raw=True).invoke("Which boat?")
    assert raw["parsed"] == found and raw["parsing_error"] is None and raw["raw"].usage_metadata


def test_json_mode_without_a_schema(reader: RCCReader) -> None:
    model = chat(reader, temperature=1.0, seed=1)
    try:
        found = model.bind(response_format={"type": "json_object"}).invoke("Which boat?")
    except GenerationError as error:
        assert "raise max_tokens" in str(error)
    else:
        assert isinstance(json.loads(found.text), dict)


def test_an_answer_that_does_not_fit_is_an_error_not_half_an_object(reader: RCCReader) -> None:
    model = chat(reader, max_tokens=6)
    with pytest.raises(GenerationError, match="raise max_tokens"):
        model.with_structured_output(Boat).invoke("Which boat?")


def test_methods_and_schemas_that_are_not_known(reader: RCCReader) -> None:
    with pytest.raises(ConfigError, match="magic"):
        chat(reader).with_structured_output(Boat, method="magic")
    with pytest.raises(ConfigError, match="needs a schema"):
        chat(reader).with_structured_output(None)
