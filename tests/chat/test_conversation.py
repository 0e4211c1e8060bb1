from __future__ import annotations

from rcc_integrations.chat.conversation import Conversation, Said
from rcc_integrations.chat.routing_question import routing_question
from rcc_integrations.chat.text import question_in, split_prompt, whole_characters

CONTEXT = "\n\n".join(f"The ferry number {number} leaves the quay of Holm at {number}." for number in range(40))
QUESTION = "Which ferry leaves at nine?"


def words(text: str) -> int:
    return len(text.split())


def test_what_asks_stays_and_its_context_becomes_memory() -> None:
    told = Conversation.of([Said("user", [f"{CONTEXT}\n\nQuestion: {QUESTION}"])], 20, words)
    assert [turn.content for turn in told.turns] == [f"Question: {QUESTION}"] and told.question == QUESTION
    assert list(told.prompts.values()) == [CONTEXT] and told.documents == {}
    clear = Conversation.of([Said("user", [f"{CONTEXT}\n\nQuestion: {QUESTION}"])], None, words)
    assert clear.prompts == {} and CONTEXT in clear.turns[0].content


def test_the_last_words_are_never_compressed_as_a_whole() -> None:
    long = "ferry " * 100
    told = Conversation.of([Said("user", [long]), Said("assistant", ["Yes."]), Said("user", [long])], 20, words)
    assert list(told.prompts.values()) == [long] and told.turns[-1].content == long


def test_documents_and_results_of_tools_are_read_from_memory() -> None:
    result = "It sails. " * 40
    told = Conversation.of(
        [Said("user", [QUESTION], documents=["A", "B"]), Said("tool", [result], before="Result of sail: ")], 20, words
    )
    assert list(told.documents.values()) == ["A", "B"] and list(told.prompts.values()) == [result]
    assert told.turns[1].content == "Result of sail: its text is in memory." and told.question == QUESTION


def test_a_question_that_leans_takes_those_before_it_along() -> None:
    assert routing_question(["Who is Ines Calder?"]) == "Who is Ines Calder?"
    assert routing_question(["Who is Ines Calder?", "And where was she born?"]) == (
        "Who is Ines Calder?\nAnd where was she born?"
    )
    alone = routing_question(["Who is Ines Calder?", "When does the library of Holm open?"])
    assert alone.count("library") == 2 and alone.count("Calder") == 1
    assert routing_question([]) == routing_question(["", " "]) == ""


def test_the_part_of_a_prompt_that_asks() -> None:
    assert question_in(f"Context: {CONTEXT}\nQuery: {QUESTION}\nAnswer:") == QUESTION
    assert question_in(QUESTION) == QUESTION
    parts = split_prompt(f"Answer from the context:\n\n{CONTEXT}\n\n{QUESTION}", 20, words)
    assert parts is not None and parts.context == CONTEXT
    assert parts.asking == f"Answer from the context:\n\n{QUESTION}"
    assert split_prompt("ferry " * 100, 20, words) is None


def test_halves_of_characters_become_whole_ones() -> None:
    assert whole_characters("a\ud83d\ude00b") == "a😀b" and whole_characters("a\ud83db") == "a\ufffdb"
    assert whole_characters("é") == "é"
