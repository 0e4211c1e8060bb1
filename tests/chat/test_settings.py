from __future__ import annotations

import copy
import gc
import pickle
import weakref
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from rcc_integrations import RCCReader
from rcc_integrations.chat.settings import MemorySettings, renamed
from rcc_integrations.errors import BudgetError, ConfigError
from tests.tiny import TEXT


@pytest.fixture
def stores(tmp_path: Path, saved_model: Path) -> list[Path]:
    for name in ("one", "two"):
        with RCCReader.open(tmp_path / name, model=saved_model) as reader:
            reader.add("isle", {f"{name}.md": TEXT})
    return [tmp_path / "one", tmp_path / "two"]


def names(settings: MemorySettings) -> list[str]:
    return [record.id for record in settings.memory.documents("isle")]


def test_objects_of_one_store_share_a_reader_and_those_of_one_model_its_weights(stores: Any, saved_model: Any) -> None:
    one, same = (MemorySettings(store=stores[0], model=str(saved_model)) for _ in range(2))
    other = MemorySettings(store=stores[1], model=str(saved_model))
    assert one.memory is same.memory is not other.memory
    assert one.memory.model is other.memory.model
    reader, weights = one.memory, weakref.ref(one.memory.model)
    one.close()
    assert not reader.closed  # another still has a share
    same.close()
    assert reader.closed and not other.memory.closed
    other.close()
    del reader
    gc.collect()
    assert weights() is None
    assert names(one) == ["one.md"]  # used again, it opens again
    one.close()


def test_a_change_of_the_store_is_a_change_of_the_answers(stores: Any, saved_model: Any) -> None:
    one = MemorySettings(store=stores[0], model=str(saved_model))
    assert names(one) == ["one.md"]
    assert names(one.model_copy(update={"store": stores[1]})) == ["two.md"] and names(one) == ["one.md"]
    one.store = stores[1]
    assert names(one) == ["two.md"]
    with RCCReader.open(stores[0], model=saved_model) as reader:
        shared = MemorySettings(reader=reader)
        assert names(shared) == ["one.md"]
        moved = MemorySettings(reader=reader, model=str(saved_model)).model_copy(update={"store": stores[1]})
        assert moved.reader is None and names(moved) == ["two.md"]
        moved.reader = reader
        assert moved.store is None and names(moved) == ["one.md"]


def test_copies_and_pickles_open_it_again(stores: Any, saved_model: Any, model: Any, tmp_path: Path) -> None:
    one = MemorySettings(store=stores[0], model=str(saved_model), stop="END")
    names(one)
    for again in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert again.stop == ["END"] and not again._memory.is_open and names(again) == ["one.md"]
    with RCCReader.open(stores[0], model=saved_model) as reader:
        assert copy.deepcopy(MemorySettings(reader=reader)).reader is reader
        again = pickle.loads(pickle.dumps(MemorySettings(reader=reader)))
        assert names(again) == ["one.md"]
    with RCCReader.open(tmp_path / "three", model=model) as reader, pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(MemorySettings(reader=reader))


def test_ordinary_values() -> None:
    made = MemorySettings(stop="END", documents="a.md", temperature=None, max_tokens=None, store="memory")
    assert made.stop == ["END"] and made.documents == ["a.md"] and made.temperature == 0.0 and made.max_tokens == 256
    call = made.call_settings({"temperature": None, "documents": "b.md", "seed": 2**70, "timeout": 3})
    assert call["temperature"] == 0.0 and call["documents"] == ["b.md"] and call["timeout"] == 3
    assert call.generation(made.stops("stop", ["END", "x"])).stop == ("END", "stop", "x")
    assert 0 <= call.generation([]).seed < 2**64  # type: ignore[operator]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"temperature": "hot"}, "temperature must be a number"), ({"max_tokens": 2.5}, "max_tokens must be a whole"),
        ({"max_tokens": 0}, "max_tokens is out of range"), ({"seed": "x"}, "seed must be"),
        ({"documents": 3}, "documents must be"), ({"compress_over": 0}, "compress_over must be"),
        ({"min_tokens": 900}, "min_tokens is out of range"),
    ],
)  # fmt: skip
def test_wrong_values_are_named_as_they_were_given(given: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        MemorySettings().call_settings(given).generation([])
    with pytest.raises(ValidationError):
        MemorySettings(**given)


def test_errors_speak_of_the_frameworks_settings() -> None:
    assert str(renamed(BudgetError("Lower expand or max_new_tokens."))) == "Lower expand or max_tokens."
