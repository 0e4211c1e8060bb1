"""Grounded answers stand word for word in the texts in memory, where they say that they do."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcc_integrations import RCCReader
from rcc_integrations.config import NOT_STATED, SEPARATORS
from rcc_integrations.errors import ConfigError, EmptyDocumentError
from rcc_integrations.model.grammar import Grammar, GrammarProcessor
from rcc_integrations.reader.collection_view import CollectionCache
from rcc_integrations.routing.passage import Passage
from tests.tiny import TEXT, tiny_model

QUESTION = "Who approves leave?"


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    with RCCReader.open(tmp_path_factory.mktemp("grounded") / "memory", model=tiny_model(seed=3)) as opened:
        yield opened


def check(reader, answer) -> None:
    """An answer is made of its spans, in order, with nothing but what separates items between them."""
    if not answer.spans:
        assert answer.text == NOT_STATED or answer.finish_reason == "length"
        return
    rest = answer.text
    for number, span in enumerate(answer.spans):
        said = reader.text(answer.collection, span.document)[span.start : span.end]
        if number:
            rest = rest.removeprefix(next(each for each in SEPARATORS if rest.startswith(each + said)))
        assert said and rest.startswith(said)
        rest = rest.removeprefix(said)
    assert rest == ""


@given(
    texts=st.lists(
        st.one_of(
            st.text(min_size=1, max_size=200),
            st.lists(st.sampled_from(["harbour", "Varde", "7:45", "willow42", "日本語", "é", "e\u0301", "\u200b", '"', "\\", "/", "\n", "😀", "%", "|", "-"]), min_size=1).map(" ".join),
            st.sampled_from([TEXT, TEXT * 3, "a", "The bell rings. " * 40]),
        ),
        min_size=1, max_size=3,
    ),
    question=st.sampled_from([QUESTION, "When does the ferry leave?", "What rings?"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_grounded_answer_is_a_span_of_its_document(reader, texts, question):
    try:
        reader.add("odd", {f"{number}.txt": text for number, text in enumerate(texts)})
    except EmptyDocumentError:
        return
    try:
        for sampled in ({}, {"temperature": 2.0, "seed": 1}):
            answer = reader.ask("odd", question, grounded=True, max_new_tokens=12, **sampled)
            check(reader, answer)
    finally:
        reader.drop("odd")


def test_a_whole_answer_is_made_of_its_spans(reader):
    reader.add("whole", {"a": TEXT, "b": "Tomas Lind works as a baker."})
    answers = [
        reader.ask("whole", question, grounded=True, max_new_tokens=200)
        for question in (QUESTION, "When does the ferry leave?", "Who works as a baker?")
    ]
    for answer in answers:
        assert answer.finish_reason == "stop" and (answer.spans or answer.text == NOT_STATED)
        check(reader, answer)
    assert any(answer.spans for answer in answers)


def test_streams_and_batches_are_grounded_too(reader):
    reader.add("holm", {"a": TEXT, "b": "Tomas Lind works as a baker."})
    answer = reader.ask("holm", QUESTION, grounded=True, max_new_tokens=12)
    check(reader, answer)
    assert answer.text != reader.ask("holm", QUESTION, max_new_tokens=12).text
    stream = reader.stream("holm", QUESTION, grounded=True, max_new_tokens=12)
    assert "".join(stream) == answer.text == stream.answer.text and stream.answer.spans == answer.spans
    for each in reader.ask_batch([("holm", QUESTION), ("holm", "When?")], grounded=True, max_new_tokens=12):
        check(reader, each)
    only = reader.ask("holm", QUESTION, grounded=True, max_new_tokens=12, documents="b")
    check(reader, only)
    assert all(span.document == "b" for span in only.spans)


def test_plain_answers_name_no_span(reader):
    reader.add("plain", {"a": TEXT})
    assert reader.ask("plain", QUESTION, max_new_tokens=4).spans == ()


def test_a_grammar_beside_is_refused(reader):
    reader.add("both", {"a": TEXT})
    with pytest.raises(ConfigError, match="takes no grammar beside"):
        reader.ask("both", QUESTION, grounded=True, grammar=Grammar.regex("a"))


def test_the_grammar_allows_spans_and_lists_and_nothing_else(model):
    from llguidance import LLMatcher

    grammar = Grammar.verbatim(["Bread, butter and jam. Salt", "Oil"], NOT_STATED)

    def allowed(text: str) -> bool:
        matcher: LLMatcher = model._guide.matcher(grammar)
        return matcher.try_consume_tokens(ids := model.token_ids(text)) == len(ids) and matcher.is_accepting()

    for text in (NOT_STATED, "butter and jam", "Oil", "jam, Oil and Bread", "Salt; Salt", "Bread, butter"):
        assert allowed(text), text
    for text in ("bread", "but", "butter jam", "jam ", "jam and", "Oil, pepper", "not", ""):
        assert not allowed(text), text


def test_a_letter_may_change_its_case_where_only_that_is_allowed(model):
    import torch

    guide, known = model._guide, model.tokenizer.get_vocab()
    small, capital, other = known["b"], known["B"], known["s"]
    assert guide.other_case[capital] == small and guide.other_case[small] == capital
    assert guide.other_case[known["1"]] == known["1"]
    scores = torch.zeros(1, len(guide.other_case))
    scores[0, small], scores[0, other] = 9.0, 5.0
    for either, best in ((True, capital), (False, other)):
        grammar = Grammar(Grammar.verbatim(["B s"], NOT_STATED).source, either)
        held = GrammarProcessor(guide, [grammar])(torch.zeros(1, 1, dtype=torch.int64), scores.clone())
        assert int(held.argmax()) == best


def test_neighbouring_windows_are_one_passage(reader):
    reader.add("long", {"a": "\n\n".join(f"Line {number}: the bell rings {number} times." for number in range(60))})
    view = CollectionCache(reader.store).get("long")
    count = len(view.windows)
    assert count > 3
    scores = [float(number) for number in range(count)]
    (whole,) = view.passages(range(count), scores)
    assert whole == Passage("a", 0, reader.text("long", "a"), float(count - 1))
    first, last = view.passages([0, count - 1], scores)
    assert (first.text, last.text) == (view.source(0, 0).text, view.source(count - 1, 0).text)
