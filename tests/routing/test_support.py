"""Places that speak of what an answer says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rcc_integrations.routing.passage import Passage
from rcc_integrations.routing.support import find_support

QUESTION = "Who approves leave?"
STAFF = "The bell rings at seven. The harbour pilot, Tomas Varde, approves leave. Nobody may smoke.\nThe gate is shut."


def test_the_place_with_the_answers_words_comes_first_and_is_as_short_as_can_be():
    passages = [Passage("other", 0, "A pilot waits for the tide."), Passage("staff", 10, STAFF)]
    first, *more = find_support("It is Tomas Varde, the pilot.", QUESTION, passages, 3)
    assert (first.document, first.text, first.score) == ("staff", "pilot, Tomas Varde", 1.0)
    assert first.text == STAFF[first.start - 10 : first.end - 10]
    assert all(each.score < 1 for each in more)
    assert find_support("Tomas Varde", QUESTION, passages, 0) == ()


def test_what_stands_nowhere_has_no_support():
    passages = [Passage("staff", 0, STAFF)]
    for answer in ("Selma Pervale", "", "—", "not"):
        assert find_support(answer, QUESTION, passages, 3) == ()


def test_of_equal_places_the_one_that_speaks_of_the_question_comes_first():
    text = "Varde is old. It rains. " * 3 + "Leave is approved by Varde. " + "Varde is tall. It snows. " * 3
    (first, *_) = find_support("Varde", "By whom is leave approved?", [Passage("a", 0, text)], 1)
    assert "approved by Varde" in text[first.start - 12 : first.end]


def test_a_word_may_be_far_from_the_others():
    (found,) = find_support("gate, bell", QUESTION, [Passage("a", 0, "The bell hangs. It is by the gate.")], 3)
    assert found.text == "bell hangs. It is by the gate"


@given(st.text(max_size=40), st.text(max_size=40), st.lists(st.text(min_size=1, max_size=200), max_size=3))
def test_places_lie_in_their_texts(answer, question, texts):
    passages = [Passage(str(number), 5, text) for number, text in enumerate(texts)]
    for place in find_support(answer, question, passages, 5):
        assert texts[int(place.document)][place.start - 5 : place.end - 5] == place.text != ""
        assert 0 < place.score <= 1
