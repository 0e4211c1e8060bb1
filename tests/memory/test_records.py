from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rcc_integrations.errors import ConfigError, CorruptBlobError
from rcc_integrations.memory.json_value import check_object, dumps, loads
from rcc_integrations.memory.records import STORAGES, CollectionRecord, DocumentRecord, WindowRecord

text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
count = st.integers(0, 2**40)
keys = st.text(alphabet="0123456789abcdef", min_size=64, max_size=64)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
windows = st.builds(
    lambda key, start, length, tokens, slots: WindowRecord(key, start, start + length, tokens, slots),
    keys,
    *[count] * 4,
)


@st.composite
def documents(draw: st.DrawFn) -> DocumentRecord:
    spans = tuple(draw(st.lists(windows, max_size=4)))
    return DocumentRecord(
        id=draw(text),
        order=draw(count),
        text_key=draw(keys),
        characters=max((span.end for span in spans), default=0),
        tokens=draw(count),
        slots=sum(span.slots for span in spans),
        windows=spans,
        digest=draw(text),
        metadata=draw(st.dictionaries(text, json_values, max_size=3)),
        added=draw(st.floats(0, 2**40)),
    )


collections = st.builds(
    CollectionRecord,
    uid=text,
    name=text,
    fingerprint=text,
    model=st.dictionaries(text, json_values, max_size=3),
    storage=st.sampled_from(STORAGES),
    created=st.floats(0, 2**40),
    **dict.fromkeys(["revision", "documents", "windows", "tokens", "slots"], count),
)


@given(documents())
def test_a_document_survives_json(record: DocumentRecord) -> None:
    assert DocumentRecord.from_json(loads(dumps(record.to_json()))) == record


@given(collections)
def test_a_collection_survives_json(record: CollectionRecord) -> None:
    assert CollectionRecord.from_json(loads(dumps(record.to_json()))) == record


@given(json_values)
def test_any_other_json_is_refused(value: Any) -> None:
    for kind in (WindowRecord, DocumentRecord, CollectionRecord):
        with pytest.raises(CorruptBlobError):
            kind.from_json(value)


WRONG: list[Any] = [None, True, "x", -1, 1.5, [], {}, [1], {"a": 1}]
DOCUMENT = DocumentRecord("a", 1, "0" * 64, 9, 4, 2, (WindowRecord("f" * 64, 0, 9, 4, 2),), "d", {}, 1.0)
COLLECTION = CollectionRecord("u", "n", "f", {}, "int8", 1, 1, 1, 1, 1, 1.0)


@pytest.mark.parametrize("record", [DOCUMENT, COLLECTION], ids=["document", "collection"])
def test_a_missing_an_unknown_and_a_wrongly_typed_field_is_refused(record: Any) -> None:
    good = record.to_json()
    for name in good:
        with pytest.raises(CorruptBlobError):
            type(record).from_json({key: value for key, value in good.items() if key != name})
        with pytest.raises(CorruptBlobError):
            type(record).from_json({("other" if key == name else key): value for key, value in good.items()})
        for wrong in WRONG:
            if (type(wrong) is type(good[name]) and wrong != -1) or (
                name in {"added", "created"} and wrong in (1.5, -1)
            ):
                continue
            with pytest.raises(CorruptBlobError):
                type(record).from_json({**good, name: wrong})
    with pytest.raises(CorruptBlobError):
        type(record).from_json({**good, "more": 1})


@pytest.mark.parametrize(
    "wrong",
    [
        ["../../etc/passwd" + "0" * 48, 0, 9, 4, 2],
        ["F" * 64, 0, 9, 4, 2],
        ["f" * 64, 5, 4, 4, 2],
        ["f" * 64, -1, 4, 4, 2],
        ["f" * 64, 0, 10, 4, 2],
        ["f" * 64, 0, 9, 4, 3],
        ["f" * 64, 0, 9, 4, True],
        ["f" * 64, 0, 9, 4],
    ],
)
def test_a_window_that_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(CorruptBlobError):
        DocumentRecord.from_json({**DOCUMENT.to_json(), "windows": [wrong]})


@given(st.dictionaries(text, json_values))
def test_metadata_is_copied_deeply(value: dict[str, Any]) -> None:
    copy = check_object(value, "The metadata")
    assert copy == value and copy is not value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": float("nan")}, r"\['a'\] is nan"),
        ({"a": [1, {"b": b"x"}]}, r"\['a'\]\[1\]\['b'\] is a bytes"),
        ({1: 2}, "not a string"),
        ({"a": 2**63}, "64 bits"),
        ({"a": "\ud800"}, r"surrogate \(U\+D800\) at position 0"),
        ({"\udc00": 1}, "surrogate"),
        ([1], "mapping"),
    ],
)
def test_metadata_that_is_no_json_is_refused_with_its_place(value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_object(value, "The metadata")


def test_endless_nesting_is_refused() -> None:
    nested: list[Any] = []
    nested.append(nested)
    with pytest.raises(ConfigError, match="deeper"):
        check_object({"a": nested}, "The metadata")
    with pytest.raises(ValueError, match="deep"):
        loads("[" * 200_000)


@pytest.mark.parametrize("value", ["NaN", "[Infinity]", "{", "", "'a'"])
def test_what_is_no_json_is_no_json(value: str) -> None:
    with pytest.raises(ValueError):
        loads(value)
    assert json.loads("1") == loads("1")


def test_records_need_no_torch() -> None:
    program = (
        "import sys, rcc_integrations.memory.records, rcc_integrations.memory.names; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
