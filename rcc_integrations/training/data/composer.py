"""Composing documents from scenarios: what is said, in which words, order and form, and what can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from rcc_integrations.config import NOT_STATED
from rcc_integrations.training.data.sample import Question, Sample
from rcc_integrations.training.data.scenarios import Fact, Scenario, fill, kept_back, scenarios
from rcc_integrations.training.data.styles import Line, render
from rcc_integrations.training.data.values import Split, Values

#: Share of questions that the document does not answer: a reader that meets few of them answers what nobody said.
_UNANSWERABLE: dict[Split, float] = {"train": 0.16, "validation": 0.08}

#: How often a crowded document says the same thing again.
_CROWD = (3, 24)


@dataclass(frozen=True)
class _Drawn:
    """A fact with its values."""

    fact: Fact
    values: dict[str, str]
    number: int

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(fill(text, self.values) for text in (self.fact.answer, *self.fact.also))

    def question(self, rng: Random) -> str:
        return fill(rng.choice(self.fact.ask), self.values, sentences=True)


class Composer:
    """Composes documents with questions about them.

    Args:
        split: Scenarios, wordings, entities and values of the two splits have nothing in common.
        facts: The fewest and most statements of a document.
        questions: The most questions about one.
        unanswerable: Share of questions that the document does not answer; by default 0.16 in the training split and
            0.08 in the validation split.
        crowded: Share of documents that say one thing many times over beside the rest, of the training split alone:
            a reader that has not met any takes what is said most often for the answer.
    """

    def __init__(
        self,
        split: Split,
        *,
        facts: tuple[int, int] = (3, 16),
        questions: int = 9,
        unanswerable: float | None = None,
        crowded: float = 0.05,
    ) -> None:
        self._split = split
        self._values = Values(split, kept_back() if split == "train" else frozenset())
        self._facts = facts
        self._questions = questions
        self._unanswerable = _UNANSWERABLE[split] if unanswerable is None else unanswerable
        self._crowded = crowded if split == "train" else 0.0

    def beside(self, sample: Sample, rng: Random) -> Sample:
        """Compose a document that is easily taken for another one: of its kind, with other people and other facts.

        Args:
            sample: As `sample` returns it.
            rng: Source of chance.

        Returns:
            A document that answers none of the sample's questions; of another kind if too few facts are left.
        """
        own = next((each for each in scenarios(self._split) if each.id == sample.id), None)
        left = frozenset(range(len(own.facts))) - sample.facts if own else frozenset()
        if own is None or len(left) < 2:
            others = [each for each in scenarios(self._split) if each.id != sample.id]
            return self.sample(rng, rng.choice(others))
        return self.sample(rng, own, left)

    def sample(self, rng: Random, scenario: Scenario | None = None, facts: frozenset[int] | None = None) -> Sample:
        """Compose one document.

        Args:
            rng: Source of chance.
            scenario: What kind of document; any of the split's if not given.
            facts: Numbers of the scenario's facts that may be stated; all if not given.
        """
        scenario = scenario or rng.choice(scenarios(self._split))
        cast = self._draw(scenario.cast, rng, taken=set(), own=set())
        assert cast is not None
        drawn: list[_Drawn] = []
        taken = {value.lower() for value in cast.values()}
        usable = [number for number in range(len(scenario.facts)) if facts is None or number in facts]
        for number in rng.sample(usable, len(usable)):
            fact = scenario.facts[number]
            own: set[str] = set()
            for _ in range(rng.randint(min(2, fact.rows), fact.rows)):
                values = self._draw(fact.vars or {}, rng, taken, own)
                if values is None:
                    break
                own |= {value.lower() for value in values.values()}
                taken |= own
                drawn.append(_Drawn(fact, cast | values, number))
        said = drawn[: min(rng.randint(*self._facts), len(drawn))]
        text = self._text(scenario, cast, said, rng)
        lowered = text.lower()
        wanted = rng.sample(said, len(said)) + rng.sample(said, len(said))
        wanted = wanted[: self._questions]
        questions = [Question(item.question(rng), item.answers, item.fact.kind) for item in wanted]
        named = {item.number for item in said}
        unsaid = [item for item in drawn[len(said) :] if not any(one.lower() in lowered for one in item.answers)]
        for _ in said:
            if unsaid and rng.random() < self._unanswerable:
                item = unsaid.pop(rng.randrange(len(unsaid)))
                named.add(item.number)
                questions.append(Question(item.question(rng), (NOT_STATED,), "unanswerable"))
        asked: dict[str, Question] = {}
        for question in questions:
            asked.setdefault(question.q, question)
        questions = list(asked.values())
        return Sample(text, tuple(rng.sample(questions, len(questions))), "facts", scenario.id, frozenset(named))

    def _draw(self, types: dict[str, Any], rng: Random, taken: set[str], own: set[str]) -> dict[str, str] | None:
        """Draw values unlike all in the document, or at least unlike the fact's own; None if there are none left."""
        found: dict[str, str] = {}
        for name, kind in types.items():
            mine = own | {item.lower() for item in found.values()}
            tries = (self._values.draw(kind, rng) for _ in range(80))
            new = (value for number, value in enumerate(tries)
                   if value.lower() not in mine and (number >= 40 or value.lower() not in taken))  # fmt: skip
            drawn = next(new, None)
            if drawn is None:
                return None
            found[name] = drawn
        return found

    def _text(self, scenario: Scenario, cast: dict[str, str], said: list[_Drawn], rng: Random) -> str:
        lines = []
        for item in rng.sample(said, len(said)):
            sentence = fill(rng.choice(item.fact.say), item.values, sentences=True)
            lines.append(Line(sentence, fill(item.fact.row, item.values)))
        spare = rng.sample(scenario.filler, len(scenario.filler))
        for filler in spare[: rng.randint(0, max(1, len(lines) // 2))]:
            lines.insert(rng.randint(0, len(lines)), Line(fill(filler, cast, sentences=True)))
        if self._crowded and rng.random() < self._crowded:
            at = rng.randrange(len(lines))
            lines[at:at] = [lines[at]] * rng.randint(*_CROWD)
        title = fill(rng.choice(scenario.titles), cast, sentences=True) if rng.random() < 0.7 else ""
        return render(rng.choice(scenario.styles), title, lines, self._values, rng)
