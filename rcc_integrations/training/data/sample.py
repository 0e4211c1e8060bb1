"""`Sample`: a text with questions, for training and evaluation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rcc_integrations.errors import DataError


@dataclass(frozen=True)
class Question:
    """A question about a text.

    Args:
        q: The question, or another instruction, such as to repeat a passage.
        answers: Correct answers, the preferred one first; training uses the first.
        kind: Kind of question or task.
    """

    q: str
    answers: tuple[str, ...]
    kind: str = "fact"


@dataclass(frozen=True)
class Sample:
    """A text with questions about it.

    Args:
        text: The text to compress.
        questions: Questions about it, each asked on its own.
        task: Its origin: a task of the mixture, or the name of a file.
        id: Name in reports.
        facts: For a composed document, the numbers of the facts of its scenario that it states or is asked about.
    """

    text: str
    questions: tuple[Question, ...]
    task: str = "own"
    id: str = ""
    facts: frozenset[int] = frozenset()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values, in the form that `from_dict` reads."""
        questions = [{**asdict(question), "answers": list(question.answers)} for question in self.questions]
        data = {"id": self.id, "task": self.task, "text": self.text, "questions": questions}
        return {**data, "facts": sorted(self.facts)} if self.facts else data

    @classmethod
    def from_dict(cls, data: Any, *, where: str) -> Sample:
        """Read one line of a data file: `{"text", "questions": [{"q", "answers"}]}`, further keys optional.

        Args:
            data: The parsed JSON.
            where: File and line, for errors.

        Raises:
            DataError: If it is not of that form; the message says where and what.
        """
        if not isinstance(data, dict) or not isinstance(data.get("text"), str) or not data["text"].strip():
            raise DataError(f'{where}: an object with a non-empty "text" is needed.')
        asked = data.get("questions") or []
        if not isinstance(asked, list):
            raise DataError(f'{where}: "questions" must be a list; it is {type(asked).__name__}.')
        questions = []
        for number, given in enumerate(asked, 1):
            answers = given.get("answers") if isinstance(given, dict) else None
            answers = [answers] if isinstance(answers, str) else answers
            texts = isinstance(answers, list) and all(isinstance(item, str) and item.strip() for item in answers)
            if not answers or not texts or not isinstance(given.get("q"), str) or not given["q"].strip():
                raise DataError(f'{where}: question {number} needs "q", a text, and "answers", a list of texts.')
            questions.append(Question(given["q"], tuple(answers or ()), str(given.get("kind", "fact"))))
        facts = data.get("facts") or []
        if not isinstance(facts, list) or not all(type(number) is int for number in facts):
            raise DataError(f'{where}: "facts" must be a list of whole numbers; it is {facts!r}.')
        named = str(data.get("id", where))
        return cls(data["text"], tuple(questions), str(data.get("task", "own")), named, frozenset(facts))
