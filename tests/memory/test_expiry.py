"""Collections that are gone by themselves."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from rcc_integrations.errors import ConfigError, CorruptBlobError, UnknownCollectionError
from rcc_integrations.memory.expiry import Expiry, parse_ttl
from rcc_integrations.memory.json_value import JSON
from rcc_integrations.memory.records import CollectionRecord
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.reader import RCCReader


@pytest.fixture
def reader(tmp_path, model):
    with RCCReader.open(tmp_path / "memory", model=model) as reader:
        yield reader


def pass_time(reader: RCCReader, name: str, seconds: float) -> None:
    """Let a collection be as if some time had gone by."""
    expiry = reader.store.collection(name).expiry
    assert expiry is not None
    reader.store.set_expiry(name, replace(expiry, at=expiry.at - seconds))


def test_an_expired_collection_is_gone_at_once_and_swept(reader):
    reader.add("isle", {"a": "The bell rings twice."}, ttl=60)
    reader.add("handbook", {"a": "The warden approves leave."})
    assert reader.store.collection("isle").expiry.at == pytest.approx(time.time() + 60, abs=5)
    pass_time(reader, "isle", 61)
    assert [record.name for record in reader.collections()] == ["handbook"]
    for use in (
        reader.documents,
        lambda name: reader.ask(name, "Who?"),
        lambda name: reader.search(name, "bell"),
        reader.drop,
    ):
        with pytest.raises(UnknownCollectionError):
            use("isle")
    blobs = reader.store.stats().blobs
    assert [record.name for record in reader.store.sweep_expired()] == ["isle"]
    assert reader.store.stats().blobs < blobs and reader.verify().ok
    assert reader.ask("handbook", "Who approves leave?", max_new_tokens=2).text


def test_its_name_is_free(reader):
    reader.add("isle", {"a": "The bell rings twice."}, ttl=60)
    pass_time(reader, "isle", 61)
    reader.add("isle", {"b": "Nobody sails in a storm."})
    assert [record.id for record in reader.documents("isle")] == ["b"]
    assert reader.store.collection("isle").expiry is None and reader.verify().ok


def test_use_renews_it_if_so_asked(reader):
    for name, renew in (("renewed", True), ("not", False)):
        reader.add(name, {"a": "The bell rings twice."}, ttl=100, renew=renew)
        pass_time(reader, name, 50)
        revision = reader.store.collection(name).revision
        reader.ask(name, "Who rings?", max_new_tokens=1)
        left = reader.store.collection(name).expiry.at - time.time()
        assert left == pytest.approx(100 if renew else 50, abs=5)
        assert reader.store.collection(name).revision == revision


def test_it_can_be_taken_back(reader):
    reader.add("isle", {"a": "The bell rings twice."}, ttl=60)
    reader.add("isle", {"b": "Nobody sails in a storm."})
    assert reader.store.collection("isle").expiry is not None
    assert reader.set_expiry("isle", None).expiry is None


def test_records_without_it_are_as_before(reader):
    reader.add("isle", {"a": "The bell rings twice."})
    record = reader.store.collection("isle")
    assert "expiry" not in record.to_json() and CollectionRecord.from_json(record.to_json()) == record
    expiring = replace(record, expiry=Expiry.after(5, renew=True))
    again = CollectionRecord.from_json(expiring.to_json())
    assert again.expiry == expiring.expiry and again == record  # the content is the same
    damaged: list[JSON] = [{"at": 1}, {"at": 1, "ttl": -1, "renew": True}, {"at": "soon", "ttl": 1, "renew": True}, 5]
    for wrong in damaged:
        with pytest.raises(CorruptBlobError):
            CollectionRecord.from_json({**record.to_json(), "expiry": wrong})


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("12h", 43200), ("7d", 604800), (" 1.5 w ", 907200)]
)
def test_times_are_read(text, seconds):
    assert parse_ttl(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-1d", "7 days", "9999999w"])
def test_other_times_are_refused(text):
    with pytest.raises(ConfigError, match="no time to live"):
        parse_ttl(text)


def test_a_reader_that_cannot_write_renews_nothing(reader, tmp_path, model):
    reader.add("isle", {"a": "The bell rings twice."}, ttl=100, renew=True)
    pass_time(reader, "isle", 50)
    store = MemoryStore.open(tmp_path / "memory", read_only=True)
    with RCCReader(store, model) as other:
        other.ask("isle", "Who?", max_new_tokens=1)
        assert other.store.collection("isle").expiry.at - time.time() < 60
