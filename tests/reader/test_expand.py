"""Windows that are read in clear beside memory, and answers that are taken back for want of confidence."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.config import NOT_STATED
from rcc_integrations.errors import BudgetError, ConfigError
from rcc_integrations.model.grammar import Grammar
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.reader.request import Request
from tests.tiny import TEXT

QUESTION = "Who approves leave?"
LONG = "\n\n".join(f"Line {number}: the bell rings {number} times, and nobody sails." for number in range(12))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, model: RCCModel) -> Generator[RCCReader]:
    with RCCReader.open(tmp_path_factory.mktemp("expand") / "store", model=model) as opened:
        opened.add("isle", {"long": LONG, "staff": TEXT})
        opened.add("staff", {"staff": TEXT})
        yield opened


def test_the_best_windows_are_read_in_clear_in_front_of_the_question(reader: RCCReader, model: RCCModel) -> None:
    plain = reader.ask("isle", QUESTION, max_new_tokens=8)
    answer = reader.ask("isle", QUESTION, max_new_tokens=8, expand=1)
    best = answer.sources[0]
    assert best == plain.sources[0] and best.document == "staff"
    assert (answer.usage.expanded, answer.usage.windows) == (1, plain.usage.windows - 1)
    clear = model.token_ids(best.text)
    assert answer.usage.clear_tokens == len(clear) and answer.usage.question_tokens == plain.usage.question_tokens
    prepared = reader.prepare(Request.about("isle", QUESTION, {"expand": 1}))
    assert (
        prepared.ids == (*clear, *model.question_ids(QUESTION)) and prepared.prefix.slots == answer.usage.memory_slots
    )
    (direct,) = model.generate([prepared.prefix], [prepared.ids], GenerationOptions(max_new_tokens=8))
    assert direct.text == answer.text


def test_with_every_window_in_clear_the_text_itself_is_read(reader: RCCReader, model: RCCModel) -> None:
    reader.add("one", {"staff": TEXT})
    answer = reader.ask("one", QUESTION, max_new_tokens=8, expand=9)
    assert (answer.usage.memory_slots, answer.usage.windows) == (0, 0)
    asked = [token for window in model.cut(TEXT) for token in model.token_ids(TEXT[window.start : window.end])]
    assert answer.usage.clear_tokens == len(asked)
    asked += model.question_ids(QUESTION)
    (direct,) = model.generate([model.text_prefix()], [asked], GenerationOptions(max_new_tokens=8))
    assert answer.text == direct.text


def test_grounded_answers_may_stand_in_what_is_read_in_clear(reader: RCCReader) -> None:
    answer = reader.ask("staff", QUESTION, max_new_tokens=200, expand=9, grounded=True)
    assert answer.usage.windows == 0 and answer.finish_reason == "stop" and answer.spans
    for span in answer.spans:
        assert TEXT[span.start : span.end] in answer.text


def test_what_does_not_fit_or_make_sense_is_refused(reader: RCCReader) -> None:
    with pytest.raises(BudgetError, match="Lower expand"):
        reader.ask("isle", QUESTION, expand=100)
    for options, said in (({"expand": -1}, "expand must be"), ({"expand": True}, "expand must be"),
                          ({"min_confidence": 1.5}, "from 0 to 1"), ({"min_confidence": "high"}, "from 0 to 1"),
                          ({"min_confidence": 0.5, "grammar": Grammar.regex("a")}, "takes no grammar")):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            reader.ask("isle", QUESTION, **options)


def test_an_answer_below_the_least_confidence_is_taken_back(reader: RCCReader) -> None:
    plain = reader.ask("isle", QUESTION, max_new_tokens=8)
    assert plain.confidence is not None and 0 < plain.confidence < 1 and plain.stated
    kept = reader.ask("isle", QUESTION, max_new_tokens=8, min_confidence=plain.confidence / 2)
    assert (kept.text, kept.confidence) == (plain.text, plain.confidence)
    taken = reader.ask("isle", QUESTION, max_new_tokens=8, min_confidence=(1 + plain.confidence) / 2)
    assert (taken.text, taken.stated, taken.support, taken.confidence) == (NOT_STATED, False, (), plain.confidence)
    for least, said in ((plain.confidence / 2, plain.text), ((1 + plain.confidence) / 2, NOT_STATED)):
        stream = reader.stream("isle", QUESTION, max_new_tokens=8, min_confidence=least)
        assert list(stream) == [said] == [stream.answer.text]


def test_a_grammar_leaves_no_confidence(reader: RCCReader) -> None:
    assert reader.ask("isle", QUESTION, max_new_tokens=8, grammar=Grammar.choice(["yes", "no"])).confidence is None
