from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from rcc_integrations.cli.clean import clean, escape_json, one_line

anything = st.text(st.characters())


@given(anything)
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    shown = clean(text)
    assert len(shown) == len(text)
    assert not [one for one in shown if unicodedata.category(one) in ("Cc", "Cs") and one not in "\t\n"]


def test_plain_text_stays() -> None:
    text = "Grüße\tan\nalle: [bold]日本[/bold] :smile:"
    assert clean(text) == text


def test_direction_changes_are_replaced() -> None:
    assert clean("a\u202egpj.exe\u2066") == "a\ufffdgpj.exe\ufffd"


@given(anything, st.integers(1, 20))
def test_one_line_is_one_and_short(text: str, width: int) -> None:
    line = one_line(text, width)
    assert len(line) <= width and len(line.splitlines()) <= 1


def test_one_line_marks_what_is_cut() -> None:
    assert one_line("one  two\nthree", 9) == "one two…"
    assert one_line("one  two\nthree", 13) == "one two three"


@given(anything)
def test_escaped_json_has_the_same_value_and_no_control_characters(text: str) -> None:
    written = escape_json(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(written) == {"text": text}
    assert clean(written) == written
