"""`Prepared`: a request with its windows chosen and their memories in a prefix."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rcc_integrations.memory.records import WindowRecord
from rcc_integrations.reader.answer import Source
from rcc_integrations.reader.collection_view import Shelf
from rcc_integrations.reader.grounding import grounded_grammar
from rcc_integrations.reader.request import Request
from rcc_integrations.routing.passage import Passage
from rcc_integrations.routing.word_router import Route

if TYPE_CHECKING:
    from rcc_integrations.model.prefix import Prefix


@dataclass(frozen=True)
class Laid:
    """What is read of one part of a request's memory.

    Args:
        shelf: The collection.
        route: The windows.
        expanded: Numbers of those among them that are read in clear.
    """

    shelf: Shelf
    route: Route
    expanded: frozenset[int] = frozenset()

    @property
    def windows(self) -> list[WindowRecord]:
        """The windows in memory, in order."""
        return [self.shelf.windows[number] for number in self.route.chosen if number not in self.expanded]

    @property
    def clear(self) -> list[str]:
        """Texts of the windows that are read in clear, in order."""
        return [self.shelf.window_text(number) for number in sorted(self.expanded)]


@dataclass(frozen=True)
class Prepared:
    """A request with its prefix, ready to be generated.

    Args:
        request: The request.
        ids: What the decoder reads behind the prefix: windows in clear, then the question.
        clear_tokens: How many of them are of windows in clear.
        laid: The windows.
        prefix: Clear text and memories.
        started: When work on it began.
        route_seconds: Choosing windows took so long.
        load_seconds: Bringing memories in took so long.
    """

    request: Request
    ids: tuple[int, ...]
    clear_tokens: int
    laid: tuple[Laid, ...]
    prefix: Prefix
    started: float
    route_seconds: float
    load_seconds: float

    @property
    def kind(self) -> Hashable:
        """Requests of one kind can be generated in one batch."""
        return self.request.options, not self.laid, self.prefix.layers

    @cached_property
    def passages(self) -> list[Passage]:
        """The texts that are read, from memory or in clear."""
        return [passage for each in self.laid for passage in each.shelf.passages(each.route.chosen, each.route.scores)]

    @cached_property
    def grammar(self) -> Any:
        """What the answer is held to; `None` for nothing."""
        return grounded_grammar(self.passages) if self.request.grounded else self.request.grammar

    @property
    def sources(self) -> tuple[Source, ...]:
        """The windows that fit the question best, as many as were asked for."""
        most = self.request.sources
        return tuple(
            each.shelf.source(number, float(each.route.scores[number]))
            for each in self.laid
            for number in each.route.ranked[:most]
        )[:most]


def expanded(laid: Sequence[Laid], most: int) -> list[Laid]:
    """Mark the windows that fit a question best as read in clear.

    Args:
        laid: The windows of each part.
        most: How many to mark.
    """
    if not most:
        return list(laid)  # words are ranked only where somebody asks
    ranked = sorted((-float(each.route.scores[number]), part, place, number)
                    for part, each in enumerate(laid) for place, number in enumerate(each.route.ranked))  # fmt: skip
    best = {(part, number) for _, part, _, number in ranked[:most]}
    return [Laid(each.shelf, each.route, frozenset(number for number in each.route.chosen if (part, number) in best))
            for part, each in enumerate(laid)]  # fmt: skip


def groups(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Return the numbers of the requests that can be generated together.

    What is sampled with a seed is generated alone: beside others it would come out differently.
    """
    found: dict[Hashable, list[int]] = {}
    for number, one in enumerate(prepared):
        options = one.request.options
        alone = options.seed is not None and options.temperature > 0
        found.setdefault((one.kind, number if alone else None), []).append(number)
    return list(found.values())
