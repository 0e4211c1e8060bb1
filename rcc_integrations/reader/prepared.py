"""`Prepared`: a request with its windows chosen and their memories in a prefix."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rcc_integrations.reader.answer import Source
from rcc_integrations.reader.grounding import grounded_grammar
from rcc_integrations.reader.request import Request
from rcc_integrations.reader.selection import SelectedWindows
from rcc_integrations.routing.passage import Passage

if TYPE_CHECKING:
    from rcc_integrations.model.prefix import Prefix


@dataclass(frozen=True)
class Prepared:
    """A request with its prefix, ready to be generated.

    Args:
        request: The request.
        ids: Token ids that the decoder reads behind the prefix: windows inserted as text, then the question.
        prefix: Clear text and memories.
        started: When work on it began, by `time.perf_counter`.
        selections: The windows of each part of the request.
        clear_tokens: How many of the ids belong to windows inserted as text.
        route_seconds: How long choosing windows took.
        load_seconds: How long building the prefix took.
        voters: The same request over single windows, if the best of their answers is to be taken.
    """

    request: Request
    ids: tuple[int, ...]
    prefix: Prefix
    started: float
    selections: tuple[SelectedWindows, ...] = ()
    clear_tokens: int = 0
    route_seconds: float = 0.0
    load_seconds: float = 0.0
    voters: tuple[Prepared, ...] = ()

    @property
    def rows(self) -> tuple[Prepared, ...]:
        """What is generated for it."""
        return self.voters or (self,)

    @property
    def router_score(self) -> float:
        """The score of its best window."""
        return max(float(each.route.scores[number]) for each in self.selections for number in each.route.chosen)

    @property
    def kind(self) -> Hashable:
        """Requests of one kind can be generated in one batch."""
        return self.request.options, not self.selections, self.prefix.layers

    @property
    def question_tokens(self) -> int:
        """Tokens of the question with the prompt around it."""
        return len(self.ids) - self.clear_tokens + self.prefix.text_tokens

    @cached_property
    def passages(self) -> list[Passage]:
        """The texts that are read, from memory or as text."""
        return [
            passage for each in self.selections for passage in each.view.passages(each.route.chosen, each.route.scores)
        ]

    @cached_property
    def grammar(self) -> Any:
        """What the answer is held to; `None` for nothing."""
        return grounded_grammar(self.passages) if self.request.grounded else self.request.grammar

    @property
    def sources(self) -> tuple[Source, ...]:
        """The windows that fit the question best, as many as were asked for."""
        most = self.request.sources
        return tuple(
            each.view.source(number, float(each.route.scores[number]), each.route.ceiling())
            for each in self.selections
            for number in each.route.ranked[:most]
        )[:most]


def groups(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Return the numbers of the requests that can be generated together.

    What is sampled with a seed is generated alone: beside others it would come out differently.
    """
    numbers: dict[Hashable, list[int]] = {}
    for number, each in enumerate(prepared):
        options = each.request.options
        alone = options.seed is not None and options.temperature > 0
        numbers.setdefault((each.kind, number if alone else None), []).append(number)
    return list(numbers.values())
