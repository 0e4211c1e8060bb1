from __future__ import annotations

import pytest

from rcc_integrations.cli.clean import clean
from rcc_integrations.reader.reader import RCCReader
from tests.cli.conftest import Rcc

QUESTION = "When does the ferry to Holm leave?"


def test_streams_the_reader_s_answer(filled: Rcc) -> None:
    with RCCReader.open(filled.store, model=filled.model, read_only=True, device="cpu") as reader:
        wanted = reader.ask("isle", QUESTION, max_new_tokens=12)
    result = filled("ask", "isle", QUESTION, "--max-new-tokens", 12)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(clean(wanted.text) + "\n")
    below = result.stdout[len(wanted.text) :]
    best = wanted.sources[0]
    assert best.document == "ferry.md" and f"{best.start}-{best.end}" in below
    assert f"{wanted.usage.memory_slots} slots" in below and "first token" in below


def test_json_is_one_object(filled: Rcc) -> None:
    answer = filled.json("ask", "isle", QUESTION, "--max-new-tokens", 8, "--sources", 2)
    assert set(answer) == {"text", "sources", "usage", "timings", "finish_reason", "collection", "revision",
                           "confidence", "spans", "support", "stated", "supported"}  # fmt: skip
    assert answer["usage"]["answer_tokens"] <= 8 and answer["collection"] == "isle"
    assert answer["sources"][0]["document"] == "ferry.md" and len(answer["sources"]) == 2


def test_a_grounded_answer_says_where_it_stands(filled: Rcc) -> None:
    line = ["ask", "isle", QUESTION, "--max-new-tokens", 200, "--grounded"]
    answer = filled.json(*line)
    shown = filled(*line).stdout
    assert answer["finish_reason"] == "stop" and answer["spans"]
    for span in answer["spans"]:
        with RCCReader.open(filled.store, model=filled.model, read_only=True, device="cpu") as reader:
            assert reader.text("isle", span["document"])[span["start"] : span["end"]] in answer["text"]
        assert f"{span['document']}, characters {span['start']}-{span['end']}" in shown


def test_windows_may_be_read_in_clear_and_doubtful_answers_taken_back(filled: Rcc) -> None:
    line = ["ask", "isle", QUESTION, "--max-new-tokens", 8]
    clear = filled.json(*line, "--expand", 1)
    assert clear["usage"]["expanded"] == 1 and clear["usage"]["clear_tokens"] > 0
    taken = filled.json(*line, "--min-confidence", 1)
    assert taken["text"] == "not stated" and not taken["stated"] and 0 < taken["confidence"] < 1
    shown = filled(*line, "--min-confidence", 1).stdout
    assert shown.startswith("not stated") and f"say this: {taken['confidence']:.2f}" in shown


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_question_from_standard_input(filled: Rcc, arguments: list[str]) -> None:
    given = filled.json("ask", "isle", QUESTION, "--max-new-tokens", 4)
    piped = filled.json("ask", "isle", *arguments, "--max-new-tokens", 4, stdin="\ufeff" + QUESTION + "\n")
    assert piped["text"] == given["text"]


def test_a_question_that_is_no_text_is_refused(filled: Rcc) -> None:
    assert filled.json("ask", "isle", stdin=b"\xff\xfe\xff", code=1)["error"]["type"] == "ConfigError"
    assert filled.json("ask", "isle", "  ", code=1)["error"]["type"] == "ConfigError"


def test_options_reach_the_model(filled: Rcc) -> None:
    sampled = ["--temperature", 1.5, "--max-new-tokens", 12, "--seed"]
    texts = [filled.json("ask", "isle", QUESTION, *sampled, seed)["text"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    full = filled.json("ask", "isle", QUESTION, "--max-new-tokens", 12)["text"]
    cut = filled.json("ask", "isle", QUESTION, "--max-new-tokens", 12, "--stop", full[3:5])
    assert cut["text"] == full[: full.index(full[3:5])] and cut["finish_reason"] == "stop"


def test_documents_and_windows_can_be_chosen(filled: Rcc) -> None:
    answer = filled.json("ask", "isle", QUESTION, "--max-new-tokens", 2, "--document", "library.txt")
    assert {source["document"] for source in answer["sources"]} == {"library.txt"}
    assert filled.json("ask", "isle", QUESTION, "--max-new-tokens", 2, "--max-windows", 1)["usage"]["windows"] == 1
    unknown = filled.json("ask", "isle", QUESTION, "--document", "ferry", code=1)
    assert unknown["error"]["type"] == "UnknownDocumentError" and "ferry.md" in unknown["error"]["message"]


def test_no_store_is_made(rcc: Rcc) -> None:
    result = rcc("ask", "isle", QUESTION)
    assert result.exit_code == 1 and result.stderr.startswith("Error: There is no memory store in")
    assert len(result.stderr.splitlines()) <= 2 and "Traceback" not in result.output
    assert not rcc.store.exists()


def test_wrong_values_are_usage_errors(filled: Rcc) -> None:
    for wrong in (["--max-new-tokens", 0], ["--temperature", -1], ["--max-windows", 0], ["--sources", -1]):
        assert filled("ask", "isle", QUESTION, *wrong).exit_code == 2


def test_search(filled: Rcc) -> None:
    found = filled.json("search", "isle", "harbour pilot", "-k", 1)["sources"]
    assert [source["document"] for source in found] == ["people/pilot.txt"]
    assert "harbour pilot" in found[0]["text"]
    shown = filled("search", "isle", "ferry ticket").stdout
    assert "ferry.md" in shown and "# Ferry The ferry to Holm" in shown


def test_routing_by_memory_needs_a_routing_head(filled: Rcc) -> None:
    for command in ("search", "ask"):
        error = filled.json(command, "isle", "ferry", "--routing", "memory", code=1)["error"]
        assert error["type"] == "ConfigError" and "rcc calibrate" in error["message"]
    assert filled("search", "isle", "ferry", "--routing", "vectors").exit_code == 2


def test_search_without_a_hit(filled: Rcc) -> None:
    result = filled("search", "isle", "zebra", "--routing", "words")
    assert result.exit_code == 0 and "No window" in result.stdout
    assert filled.json("search", "isle", "zebra")["sources"] == []
