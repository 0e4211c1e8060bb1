from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
import torch

from rcc_integrations import RCCReader
from rcc_integrations.errors import ConfigError, StoreError, StoreFormatError
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.routing.attention_router import AttentionRouter, QuestionCodes
from tests.tiny import TEXT, tiny_model

FILLER = "Nothing of note was said about the weather on day {}, nor about the tide, nor about the bread of that day. "
DOCUMENTS = {
    name: text + "".join(FILLER.format(f"{name}{day}") for day in range(8))
    for name, text in (("a.md", TEXT), ("b.md", "The bakery of Lind opens at six. "), ("c.md", "No dogs on the pier. "))
}
QUESTION = "Who approves leave?"


@pytest.fixture(scope="module")
def routed():
    model = tiny_model(max_windows=2)
    torch.manual_seed(3)
    head = RoutingHead.of(model.spec, (0, 2), (1,), 16).eval().requires_grad_(False)
    head.mixture[:] = torch.tensor([9.0, 0.0, 0.0, 0.0])
    model.parts.routing = (head,)
    return model


@pytest.fixture
def reader(tmp_path, routed):
    with RCCReader.open(tmp_path / "memory", model=routed) as opened:
        opened.add("holm", DOCUMENTS)
        yield opened


def expected(reader: RCCReader, question: str = QUESTION, most: int = 8) -> list[tuple[str, int]]:
    """Rank the windows by hand, from memories read back from the store."""
    model, head = reader.model, reader.model.parts.routing[0]
    from rcc_integrations.memory.quantization import decode

    places, codes = [], []
    for document in reader.documents("holm"):
        for window in document.windows:
            stored = reader.store.get_blob(window.key)
            codes.append(head.stored(decode(stored, torch.float32), model.layout(4)))
            places.append((document.id, window.start))
    counts = np.array([len(each) for each in codes])
    router = AttentionRouter(np.concatenate(codes), np.cumsum(counts) - counts, counts)
    scores = router.scores(QuestionCodes(*model.question_codes(question, head)))
    # Further down scores may be equal but for rounding.
    return [places[number] for number in np.argsort(-scores, kind="stable")[:most]]


def found(reader: RCCReader, **options) -> list[tuple[str, int]]:
    return [(source.document, source.start) for source in reader.search("holm", QUESTION, 8, **options)]


def test_windows_are_ranked_by_their_memories(reader):
    assert found(reader, routing="memory") == expected(reader)
    scores = [source.score for source in reader.search("holm", QUESTION, 1000)]
    assert sum(scores) == pytest.approx(1) and scores == sorted(scores, reverse=True)


def test_an_answer_reads_the_windows_that_memory_finds(reader):
    answer = reader.ask("holm", QUESTION, max_new_tokens=2, sources=2)
    assert {(source.document, source.start) for source in answer.sources} == set(expected(reader)[:2])
    assert answer.usage.windows == 2 and answer.timings.route > 0
    words = reader.ask("holm", QUESTION, max_new_tokens=2, sources=2, routing="words")
    assert "approves" in words.sources[0].text
    streamed = reader.stream("holm", QUESTION, max_new_tokens=2, sources=2, routing="memory")
    list(streamed)
    assert streamed.answer.sources == answer.sources


def test_documents_restrict_what_competes(reader):
    only = found(reader, routing="memory", documents=["b.md"])
    assert only == [place for place in expected(reader, most=1000) if place[0] == "b.md"][: len(only)]
    assert len(only) == 8
    answer = reader.ask("holm", QUESTION, max_new_tokens=2, documents=["c.md"])
    assert {source.document for source in answer.sources} == {"c.md"}


def test_both_mix_words_in(reader, routed):
    routed.parts.routing[0].mixture[1] = 50.0
    try:
        assert "approves" in reader.search("holm", QUESTION, 3)[0].text
        assert found(reader, routing="memory") == expected(reader)
    finally:
        routed.parts.routing[0].mixture[1] = 0.0


def test_the_index_follows_additions_edits_and_removals(reader):
    folder = next((reader.store.path / "routing").iterdir())
    size = (folder / "codes-1").stat().st_size
    reader.add("holm", {"d.md": "The lighthouse of Varde has a red lamp."})
    grown = (folder / "codes-1").stat().st_size
    assert 0 < grown - size < 40 * 16
    assert found(reader, routing="memory") == expected(reader)
    reader.add("holm", {"a.md": "Only this is left of it."})
    reader.delete("holm", ["b.md"])
    assert found(reader, routing="memory") == expected(reader)
    assert (folder / "codes-1").stat().st_size < grown + 30 * 16


def test_a_collection_of_old_gets_its_index_when_it_is_asked(reader, tmp_path):
    shutil.rmtree(reader.store.path / "routing")
    with RCCReader.open(reader.store.path, model=reader.model) as other:
        assert found(other, routing="memory") == expected(reader)
    assert list((reader.store.path / "routing").iterdir())


def test_a_read_only_reader_completes_the_index_in_ram(reader):
    want = expected(reader)
    shutil.rmtree(reader.store.path / "routing")
    with RCCReader.open(reader.store.path, model=reader.model, read_only=True) as other:
        assert found(other, routing="memory") == want
        assert found(other, routing="memory") == want
    assert not (reader.store.path / "routing").exists()


@pytest.mark.parametrize("name", ["codes-1", "entries-1", "header.json"])
def test_a_damaged_index_is_noticed_and_made_again(reader, name):
    want = expected(reader)
    path = next((reader.store.path / "routing").iterdir()) / name
    data = bytearray(path.read_bytes())
    for place in range(5, len(data), 97):
        data[place] ^= 0x55
    path.write_bytes(bytes(data))
    with RCCReader.open(reader.store.path, model=reader.model) as other:
        assert found(other, routing="memory") == want


def test_an_index_of_another_head_is_not_used(reader, routed):
    routed.parts.routing, held = (), routed.parts.routing
    try:
        torch.manual_seed(11)
        other = RoutingHead.of(routed.spec, (1,), (2,), 8).eval().requires_grad_(False)
        other.mixture[:] = torch.tensor([9.0, 0.0, 0.0, 0.0])
        routed.parts.routing = (other,)
        assert found(reader, routing="memory") == expected(reader)
    finally:
        routed.parts.routing = held
    assert found(reader, routing="memory") == expected(reader)


def test_without_a_head_words_choose_and_memory_is_refused(reader, routed):
    by_words = found(reader, routing="words")
    routed.parts.routing, held = (), routed.parts.routing
    try:
        assert found(reader) == by_words
        with pytest.raises(ConfigError, match="has no routing head for memories of ratio 4"):
            reader.search("holm", QUESTION, routing="memory")
    finally:
        routed.parts.routing = held


@pytest.mark.parametrize("call", ["ask", "search"])
def test_an_unknown_routing_is_refused(reader, call):
    with pytest.raises(ConfigError, match="routing must be one of both, memory, words; it is 'vectors'"):
        getattr(reader, call)("holm", QUESTION, routing="vectors")


def test_a_dropped_collection_takes_its_index_along(reader):
    reader.drop("holm")
    assert not list((reader.store.path / "routing").iterdir())


def test_a_link_in_place_of_an_index_is_not_followed(reader, tmp_path):
    folder = next((reader.store.path / "routing").iterdir())
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path, target_is_directory=True)
    with RCCReader.open(reader.store.path, model=reader.model) as other, pytest.raises(StoreFormatError, match="link"):
        other.search("holm", QUESTION)
    assert not list(tmp_path.glob("codes-*"))


def test_documents_are_there_where_the_index_cannot_be_written(tmp_path, routed):
    with RCCReader.open(tmp_path / "memory", model=routed) as opened:
        (opened.store.path / "routing").write_text("in the way")
        with pytest.warns(UserWarning, match="routing index in .* cannot be written"):
            opened.add("holm", DOCUMENTS)
        with pytest.raises(StoreError, match="routing index"):
            opened.ask("holm", QUESTION, max_new_tokens=2)
        assert opened.ask("holm", QUESTION, max_new_tokens=2, routing="words").usage.windows == 2
        (opened.store.path / "routing").unlink()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert opened.ask("holm", QUESTION, max_new_tokens=2).usage.windows == 2


def test_an_empty_query_finds_nothing(reader):
    assert reader.search("holm", "  \n") == []
