from __future__ import annotations

import pytest

from rcc_integrations.chat.conversation import Conversation, Said
from rcc_integrations.chat.routing_question import routing_question
from rcc_integrations.chat.text import question_in, split_prompt, whole_characters

CONTEXT = "The ferry to Holm leaves at 7:45. Gulls sit on the wall. Nobody sails in a storm.\n\n" * 20
QUESTION = "When does the ferry to Holm leave?"

TEMPLATES = {
    "behind": "{context}\n\nQuestion: {question}",
    "bare": "{context}\n\n{question}",
    "answer": "Use the context to answer.\n\nContext:\n{context}\n\nQuestion: {question}\n\nAnswer:",
    "llama-index": "Context information is below.\n---------------------\n{context}\n---------------------\nGiven the "
                   "context information and not prior knowledge, answer the query.\nQuery: {question}\nAnswer: ",
    "refine": "The original query is as follows: {question}\nWe have provided an existing answer: 8:15\nWe have the "
              "opportunity to refine it with some more context below.\n------------\n{context}\n------------\nGiven the "
              "new context, refine the original answer to better answer the query.\nRefined Answer: ",
    "one paragraph": "{context} {question}",
}  # fmt: skip


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_part_that_asks_stays_in_clear_and_routes(template: str) -> None:
    context = CONTEXT if template != "one paragraph" else " ".join(CONTEXT.split())
    prompt = TEMPLATES[template].format(context=context, question=QUESTION)
    told = Conversation.of([Said("user", [prompt])], 100, words)
    (turn,) = told.turns
    assert QUESTION in turn.content and words(turn.content) < 100
    (kept,) = told.prompts.values()
    assert kept.count("Gulls sit") >= 19 and not told.documents
    assert told.question == QUESTION


def test_what_cannot_be_told_apart_is_read_as_it_is() -> None:
    block = "word " * 300
    told = Conversation.of([Said("user", [block])], 100, words)
    assert told.turns[0].content == block and not told.prompts
    assert Conversation.of([Said("user", [CONTEXT + QUESTION])], None, words).turns[0].content == CONTEXT + QUESTION
    assert split_prompt("short\n\nWhy?", 100, words) is None


def test_what_stands_before_the_last_question_may_go_as_a_whole() -> None:
    told = Conversation.of(
        [Said("system", ["s " * 300]), Said("user", ["word " * 300]), Said("user", ["How many words?"])], 100, words
    )
    assert [turn.content for turn in told.turns] == ["s " * 300, "", "How many words?"]
    assert len(told.prompts) == 1 and told.question == "How many words?"


def test_a_tools_result_never_routes() -> None:
    told = Conversation.of(
        [
            Said("user", ["When was the lighthouse built?"]),
            Said("assistant", [""], calls=["<tool_call>{}</tool_call>"]),
            Said("tool", ["ferry " * 200], before="Result of search: "),
            Said("user", ["Observation: the ferry leaves"]),
        ],
        100,
        words,
    )
    assert told.question == "When was the lighthouse built?"
    assert told.turns[2].content == "Result of search: its text is in memory."
    assert Conversation.of([Said("tool", [""], before="Result of x: ")], 9, words).turns[0].content == "Result of x: "


def test_earlier_questions_stay_in_the_running() -> None:
    first = "Who approves leave at the harbour?"
    assert routing_question([]) == "" and routing_question([first]) == first
    leaning = routing_question([first, "And what does it say?"])
    assert first in leaning and leaning.endswith("And what does it say?")
    standing = routing_question([first, "When was the old lighthouse built?"])
    assert standing.count("lighthouse") == 2 and standing.count("approves") == 1
    assert routing_question(["one two", "three four", "five six", "And why?"]).count("one two") == 0


def test_the_question_of_a_prompt() -> None:
    assert question_in("Rewrite.\n<Follow Up Message>\nAnd when?\n\n<Standalone question>\n") == "And when?"
    assert question_in("x " * 400 + "\nWho sails? Nobody knows.") == "Who sails?"
    assert question_in("Tell me of eels.") == "Tell me of eels."


def test_halves_of_characters() -> None:
    assert whole_characters("\ud83d\ude00") == "\U0001f600" and whole_characters("a\ud83d!") == "a\ufffd!"
