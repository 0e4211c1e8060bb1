from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from rcc_integrations import RCCReader
from rcc_integrations.document import Document
from rcc_integrations.errors import (
    BudgetError,
    ConfigError,
    CorruptBlobError,
    EmptyCollectionError,
    EmptyDocumentError,
    FingerprintMismatchError,
    InvalidNameError,
    StoreError,
    StoreFullError,
    UnknownCollectionError,
    UnknownDocumentError,
)
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.model.prefix import stack_prefixes
from rcc_integrations.reader.prefix_loader import load_prefix
from rcc_integrations.reader.request import Request
from tests.tiny import FAMILIES, TEXT, tiny_model

DOCUMENTS = {
    "ferry.md": TEXT,
    "bakery.txt": "Tomas Lind works as a baker. The bakery opens at six. The soup of the day is onion soup.",
    "sub/odd — ünïcödé 日本.md": "日本語のテキスト。😀 The code of the gate is willow42.\r\nZero\u200bwidth and a\u0301ccents.",
}


@pytest.fixture
def reader(tmp_path, model):
    with RCCReader.open(tmp_path / "memory", model=model) as opened:
        yield opened


@pytest.fixture
def filled(reader):
    reader.add("holm", DOCUMENTS)
    return reader


def test_add_ask_and_ask_again_in_a_new_reader(filled, model):
    answer = filled.ask("holm", "Who is the baker?", max_new_tokens=12)
    assert answer.usage.windows == answer.usage.windows_in_collection == filled.collections()[0].windows
    assert answer.usage.memory_slots == filled.collections()[0].slots
    assert answer.usage.answer_tokens <= 12
    assert 0 < answer.timings.first_token <= answer.timings.total
    assert answer.sources[0].document == "bakery.txt"
    assert [source.score for source in answer.sources] == sorted((s.score for s in answer.sources), reverse=True)
    with RCCReader.open(filled.store.path, model=model) as other:
        assert other.ask("holm", "Who is the baker?", max_new_tokens=12).text == answer.text


def test_sources_are_substrings_of_the_stored_text(filled):
    answer = filled.ask("holm", "What is the code of the gate?", sources=100, max_new_tokens=4)
    assert len(answer.sources) == answer.usage.windows
    for source in answer.sources:
        assert filled.text("holm", source.document)[source.start : source.end] == source.text
    for id, text in DOCUMENTS.items():
        assert filled.text("holm", id) == text
        assert "".join(sorted_texts(answer, id)) == text


def sorted_texts(answer, id):
    return [s.text for s in sorted(answer.sources, key=lambda s: s.start) if s.document == id]


FORMS = {
    "kv": {"placement": "last"},
    "focused": {"placement": "focused", "layers": (2, 1, 3, 0), "base": {"num_hidden_layers": 4}},
    "residual": {"injection": "residual", "placement": "last"},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", FAMILIES)
def test_memory_read_back_answers_like_memory_fresh_from_the_encoder(tmp_path, family, form):
    model = tiny_model(family, **FORMS[form])
    windows = model.cut(TEXT)
    fresh = model.prefix(model.compress([window.ids for window in windows], 4))
    with RCCReader.open(tmp_path / "memory", model=model) as reader:
        reader.add("exact", {"a": TEXT}, storage="float32")
        stored = load_prefix(reader.store, model, reader.documents("exact")[0].windows, 4)
        one, other = (stack_prefixes([prefix]) for prefix in (fresh, stored))
        assert all(map(torch.equal, [*one.keys, *one.values], [*other.keys, *other.values]))
        question = model.question_ids("Who approves leave?")
        direct = model.generate([fresh], [question], GenerationOptions(max_new_tokens=16))[0]
        assert reader.ask("exact", "Who approves leave?", max_new_tokens=16).text == direct.text
        for storage in ("bfloat16", "int8"):
            reader.add(storage, {"a": TEXT}, storage=storage)
            close = load_prefix(reader.store, model, reader.documents(storage)[0].windows, 4)
            for near, exact in zip(stack_prefixes([close]).values, one.values, strict=True):
                assert (near - exact).abs().max() < 0.05 * exact.abs().max()


def test_collections_of_several_ratios_are_asked_at_once(tmp_path):
    model = tiny_model(ratios=(1, 2, 4), **FORMS["focused"])
    question = "Who approves leave?"
    with RCCReader.open(tmp_path / "memory", model=model) as reader:
        for ratio in (1, 2, 4):
            reader.add(f"r{ratio}", {"a": TEXT}, ratio=ratio)
        names = ["r1", "r2", "r4", "r2"]
        together = reader.ask_batch([(name, question) for name in names], max_new_tokens=12)
        alone = [reader.ask(name, question, max_new_tokens=12) for name in names]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in alone}) == 3
    assert [answer.usage.memory_slots for answer in alone][:3] == sorted(
        (answer.usage.memory_slots for answer in alone[:3]), reverse=True
    )


def test_documents_come_in_the_order_they_were_added(filled, model):
    read = filled.prepare(Request.about("holm", "Who?", {})).passages
    assert [(passage.document, passage.text) for passage in read] == list(DOCUMENTS.items())
    filled.add("holm", {"ferry.md": "Replaced. The ferry is gone."})
    assert [document.id for document in filled.documents("holm")] == list(DOCUMENTS)


def test_unchanged_documents_cost_nothing(filled, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("the encoder was asked")

    monkeypatch.setattr(filled.model, "compress_batches", never)
    report = filled.add("holm", DOCUMENTS)
    assert report.unchanged == list(DOCUMENTS)
    assert report.windows_compressed == 0
    assert filled.collections()[0].revision == 3


def test_an_edited_document_recompresses_few_windows(reader):
    sentences = [
        f"Sentence {n} tells that boat {n * 7 % 91} sails to harbour {n * 13 % 57} at noon." for n in range(240)
    ]
    first = reader.add("log", {"log.txt": " ".join(sentences)})
    assert first.windows_compressed >= 100
    for number in (3, 120, 200):
        sentences[number] = f"Sentence {number} was changed: nothing sails on that day."
        report = reader.add("log", {"log.txt": " ".join(sentences)})
        assert report.replaced == ["log.txt"]
        assert 1 <= report.windows_compressed <= 3
        assert report.windows_reused >= 97
    assert reader.verify().ok


def test_equal_windows_are_stored_once(reader):
    reader.add("one", {"a": TEXT})
    blobs = reader.store.stats().blobs
    report = reader.add("two", {"b": TEXT, "c": TEXT})
    assert report.windows_compressed == 0
    assert reader.store.stats().blobs == blobs


def test_delete_drop_and_rename(filled):
    filled.delete("holm", ["ferry.md"])
    assert "ferry.md" not in {source.document for source in filled.ask("holm", "ferry?", sources=9).sources}
    filled.rename("holm", "island")
    assert filled.ask("island", "Who?", max_new_tokens=2).collection == "island"
    filled.delete("island", [document.id for document in filled.documents("island")])
    with pytest.raises(EmptyCollectionError, match="add documents"):
        filled.ask("island", "Who?")
    filled.drop("island")
    with pytest.raises(UnknownCollectionError):
        filled.ask("island", "Who?")
    stats = filled.store.stats()
    assert (stats.blobs, stats.texts, stats.blob_bytes) == (0, 0, 0)


def test_only_some_documents(filled):
    answer = filled.ask("holm", "Who?", documents=["bakery.txt"], sources=9, max_new_tokens=4)
    assert {source.document for source in answer.sources} == {"bakery.txt"}
    with pytest.raises(UnknownDocumentError, match=r"bakery\.txt"):
        filled.ask("holm", "Who?", documents=["bakery.text"])
    with pytest.raises(EmptyCollectionError):
        filled.ask("holm", "Who?", documents=[])


def test_a_collection_that_does_not_fit_is_routed(reader):
    texts = {f"{n}.txt": f"Boat number {n} belongs to the family of keeper{n}. " + TEXT * 3 for n in range(60)}
    reader.add("fleet", texts, ratio=1)
    record = reader.collections()[0]
    assert record.slots > reader.model.reach
    answer = reader.ask("fleet", "Who is keeper37?", max_new_tokens=8)
    assert answer.sources[0].document == "37.txt"
    assert answer.usage.windows < answer.usage.windows_in_collection
    room = answer.usage.memory_slots + answer.usage.question_tokens + 8
    assert reader.model.reach - 64 < room <= reader.model.reach
    few = reader.ask("fleet", "Who is keeper37?", max_new_tokens=8, max_windows=2)
    assert few.usage.windows == 2


def test_search(filled):
    found = filled.search("holm", "onion soup", k=2)
    assert found[0].document == "bakery.txt"
    assert all(source.score > 0 for source in found)
    assert filled.search("holm", "zzz") == []


def test_streaming(filled):
    options = {"max_new_tokens": 12, "min_new_tokens": 12}
    stream = filled.stream("holm", "Who is the baker?", **options)
    pieces = list(stream)
    assert "".join(pieces) == stream.answer.text == filled.ask("holm", "Who is the baker?", **options).text
    assert stream.answer.sources[0].document == "bakery.txt"
    closed = filled.stream("holm", "Who?", max_new_tokens=600, min_new_tokens=600)
    next(closed)
    closed.close()
    assert closed.answer.finish_reason == "cancelled"
    assert closed.answer.usage.answer_tokens < 600
    never = filled.stream("holm", "Who?")
    never.close()
    with pytest.raises(RuntimeError, match="before it began"):
        _ = never.answer


def test_a_batch_over_several_collections(filled):
    filled.add("other", {"x": "Nothing but a lighthouse stands on the rock."})
    pairs = [("holm", "Who is the baker?"), ("other", "What stands on the rock?"), ("holm", "When?")]
    together = filled.ask_batch(pairs, max_new_tokens=10)
    assert [answer.text for answer in together] == [filled.ask(*pair, max_new_tokens=10).text for pair in pairs]
    assert [answer.collection for answer in together] == ["holm", "other", "holm"]
    assert filled.ask_batch([]) == []


def test_prefixes_are_reused(filled, monkeypatch):
    filled.ask("holm", "Who?", max_new_tokens=2)
    read: list[list[str]] = []
    get_blobs = filled.store.get_blobs
    monkeypatch.setattr(filled.store, "get_blobs", lambda keys, **more: read.append(keys) or get_blobs(keys, **more))
    filled.ask("holm", "Where?", max_new_tokens=2)
    assert read == []
    filled.ask("holm", "Where?", max_new_tokens=2, documents=["bakery.txt"])
    assert len(read) == 1


def test_another_model_is_refused_and_both_are_named(filled):
    other = tiny_model(seed=9)
    with RCCReader.open(filled.store.path, model=other) as reader:
        record = reader.collections()[0]
        with pytest.raises(FingerprintMismatchError) as refused:
            reader.ask("holm", "Who?")
        assert record.fingerprint in str(refused.value)
        assert other.fingerprint(4) in str(refused.value)
        with pytest.raises(FingerprintMismatchError):
            reader.add("holm", {"x": "more"})
    with pytest.raises(FingerprintMismatchError):
        filled.add("holm", {"x": "more"}, ratio=8)
    assert len(filled.documents("holm")) == 3


def test_bad_arguments(filled):
    with pytest.raises(UnknownCollectionError, match="'holm'"):
        filled.ask("hlom", "Who?")
    for question in ("", "  \n"):
        with pytest.raises(ConfigError, match="empty"):
            filled.ask("holm", question)
    with pytest.raises(BudgetError, match="Shorten the question"):
        filled.ask("holm", "why " * 2000)
    with pytest.raises(ConfigError, match="max_tokens"):
        filled.ask("holm", "Who?", max_tokens=3)
    with pytest.raises(ConfigError, match="max_windows"):
        filled.ask("holm", "Who?", max_windows=0)
    with pytest.raises(ConfigError, match="sources"):
        filled.ask("holm", "Who?", sources=-1)
    with pytest.raises(UnknownDocumentError, match=r"ferry\.md"):
        filled.delete("holm", ["bakery.txt", "ferry.mdx"])
    assert len(filled.documents("holm")) == 3


@pytest.mark.parametrize("name", ["../../x", "a/b", "", "  ", "..", "x\n", "x" * 200, "\ud800"])
def test_names_that_cannot_be(reader, name):
    with pytest.raises(InvalidNameError):
        reader.add(name, {"a": "text"})
    assert reader.collections() == []


def test_nothing_is_half_added(reader):
    with pytest.raises(EmptyDocumentError, match="b"):
        reader.add("x", {"a": "good text", "b": "  \n "})
    with pytest.raises(ConfigError, match="lone surrogate"):
        reader.add("x", {"a": "good text", "b": "bad \ud800 text"})
    with pytest.raises(EmptyCollectionError):
        reader.add("x", {})
    with pytest.raises(ConfigError, match="mapping"):
        reader.add("x", "just text")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Two documents"):
        reader.add("x", [Document("a", "one"), Document("a", "two")])
    assert reader.collections() == []
    assert reader.store.stats().blobs == 0


def test_unreadable_sources_are_skipped_or_raised(reader):
    class Broken:
        id, digest = "broken.txt", "d"

        def read(self):
            raise EmptyDocumentError("broken.txt holds nothing.")

    report = reader.add("x", [Document("a", "one"), Broken(), Document("b", "two")], skip_unreadable=True)
    assert report.added == ["a", "b"]
    assert report.skipped == [("broken.txt", "broken.txt holds nothing.")]
    with pytest.raises(EmptyDocumentError):
        reader.add("y", [Document("a", "one"), Broken()])
    assert [document.id for document in reader.documents("y")] == ["a"]


def test_an_interrupted_run_goes_on_where_it_stopped(reader, monkeypatch):
    texts = {f"{n}.txt": f"Document {n}. " + " ".join(f"Line {n} {m} says so." for m in range(120)) for n in range(6)}
    put, calls = reader.store.put_blobs, list[int]()

    def failing(blobs, **options):
        if len(calls) == 3:
            raise StoreFullError("no room, say")
        calls.append(len(blobs))
        put(blobs, **options)

    monkeypatch.setattr(reader.store, "put_blobs", failing)
    with pytest.raises(StoreFullError):
        reader.add("x", texts)
    monkeypatch.undo()
    done = len(reader.documents("x"))
    report = reader.add("x", texts)
    assert len(report.unchanged) == done < 6
    assert len(report.added) == 6 - done
    total = sum(len(document.windows) for document in reader.documents("x"))
    assert report.windows_compressed == total - sum(calls)
    assert reader.verify().ok


def test_progress_is_told(reader, capsys):
    seen: list[Any] = []
    reader.add("x", {"a": TEXT, "b": "more"}, on_progress=seen.append, show_progress=True)
    assert seen[-1].documents == seen[-1].total == 2
    assert [one.tokens for one in seen] == sorted(one.tokens for one in seen)
    assert capsys.readouterr().out == ""


def test_a_damaged_memory_is_refused_and_repaired(filled):
    before = filled.ask("holm", "Who?", max_new_tokens=8).text
    blob = next((filled.store.path / "blobs").rglob("*.safetensors"))
    data = bytearray(blob.read_bytes())
    data[-5] ^= 1
    blob.write_bytes(data)
    with RCCReader.open(filled.store.path, model=filled.model) as other, pytest.raises(CorruptBlobError):
        other.ask("holm", "Who?")
    assert not filled.verify().ok
    assert filled.verify(repair=True).ok
    with RCCReader.open(filled.store.path, model=filled.model) as other:
        assert other.ask("holm", "Who?", max_new_tokens=8).text == before
    assert filled.verify().ok


def test_a_repair_by_another_model_leaves_the_document_named(filled):
    next((filled.store.path / "blobs").rglob("*.safetensors")).unlink()
    with RCCReader.open(filled.store.path, model=tiny_model(seed=9)) as other:
        report = other.verify(repair=True)
        assert [damaged.text_intact for damaged in report.damaged] == [True]
    assert filled.verify(repair=True).ok


def test_a_size_limit(tmp_path, model):
    with (
        RCCReader.open(tmp_path / "memory", model=model, size_limit=20_000) as reader,
        pytest.raises(StoreFullError, match="20"),
    ):
        reader.add("x", {f"{n}": f"{n} " + TEXT * 4 for n in range(40)})
    with RCCReader.open(tmp_path / "memory", model=model) as reader:
        assert reader.verify(repair=True, grace=0).ok


def test_reading_only(filled, model):
    with pytest.raises(StoreError):
        RCCReader.open(filled.store.path / "nowhere", create=False)
    with RCCReader.open(filled.store.path, model=model, read_only=True) as reader:
        assert reader.ask("holm", "Who?", max_new_tokens=2).usage.windows > 0
        with pytest.raises(StoreError):
            reader.add("holm", {"x": "more"})


def test_asking_while_documents_change(filled):
    """Questions from several threads while a document is replaced again and again: an answer or nothing, no error."""
    stop, errors, answers = threading.Event(), [], []

    def ask():
        while not stop.is_set():
            try:
                answers.append(filled.ask("holm", "Who is the baker?", max_new_tokens=3))
            except Exception as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(25):
        filled.add("holm", {"bakery.txt": f"Tomas Lind bakes {number} loaves. " + TEXT})
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len({answer.revision for answer in answers}) > 1
    assert filled.verify().ok
