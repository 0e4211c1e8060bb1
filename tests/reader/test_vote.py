from __future__ import annotations

import pytest

from rcc_integrations import RCCReader
from rcc_integrations.errors import ConfigError
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.reader.request import Part, Request
from tests.tiny import TEXT, tiny_model

DOCUMENTS = {
    "a.md": TEXT,
    "b.md": "The bakery of Lind opens at six, and leave is approved there by nobody. " * 3,
    "c.md": "The harbour of Varde has a warden of its own. He approves what he likes. " * 3,
}
QUESTION = "Who approves leave?"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    model = tiny_model(confidence=(0.1, -0.2, 1.0, 0.7), max_windows=3)
    with RCCReader.open(tmp_path_factory.mktemp("store") / "memory", model=model) as opened:
        opened.add("holm", DOCUMENTS)
        yield opened


def alone(reader: RCCReader, source):
    """Answer from one window."""
    document = next(each for each in reader.documents("holm") if each.id == source.document)
    key = next(window.key for window in document.windows if window.start == source.start)
    part = Part("holm", windows=frozenset([key]))
    return reader.submit(Request(QUESTION, (part,), options=GenerationOptions(max_new_tokens=6))).result()


@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_answer_that_decoder_and_router_are_surest_of_is_taken(reader, k):
    answer = reader.ask("holm", QUESTION, vote=k, max_new_tokens=6, sources=10)
    best = reader.search("holm", QUESTION, k, routing="words")
    single = [alone(reader, source) for source in best]
    sure = [each.confidence * source.score for each, source in zip(single, best, strict=True)]
    winner = sure.index(max(sure))
    assert answer.text == single[winner].text
    assert answer.confidence == pytest.approx(single[winner].confidence, abs=1e-4)
    assert answer.sources[0].start == best[winner].start and answer.sources[0].document == best[winner].document
    assert answer.usage.windows == k == len(answer.sources)
    assert answer.usage.answer_tokens == sum(each.usage.answer_tokens for each in single)
    assert answer.usage.memory_slots == sum(each.usage.memory_slots for each in single)


def test_a_vote_streams_its_answer_as_a_whole(reader):
    with reader.stream("holm", QUESTION, vote=3, max_new_tokens=6) as stream:
        pieces = list(stream)
    assert pieces == ([stream.answer.text] if stream.answer.text else [])
    assert stream.answer.text == reader.ask("holm", QUESTION, vote=3, max_new_tokens=6).text


def test_votes_share_a_batch_with_other_questions(reader):
    tickets = [reader.submit(Request.about("holm", QUESTION, {"vote": k, "max_new_tokens": 4})) for k in (0, 2, 3, 0)]
    answers = [ticket.result() for ticket in tickets]
    assert answers[0].text == answers[3].text
    assert [answer.usage.windows for answer in answers] == [3, 2, 3, 3]
    assert answers[1].text == reader.ask("holm", QUESTION, vote=2, max_new_tokens=4).text


def test_a_grounded_vote_names_its_span(reader):
    answer = reader.ask("holm", QUESTION, vote=3, grounded=True, max_new_tokens=12)
    assert answer.spans or not answer.stated
    for span in answer.spans:
        assert reader.text("holm", span.document)[span.start : span.end].lower() in answer.text.lower()


@pytest.mark.parametrize("options", [{"vote": -1}, {"vote": 1.5}, {"vote": True}, {"vote": 2, "expand": 1}])
def test_votes_that_cannot_be(reader, options):
    with pytest.raises(ConfigError, match="vote"):
        reader.ask("holm", QUESTION, **options)
