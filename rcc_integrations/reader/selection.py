"""Which windows a request reads, from memory and as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from rcc_integrations.errors import ConfigError, EmptyCollectionError, FingerprintMismatchError
from rcc_integrations.memory.records import WindowRecord
from rcc_integrations.reader.collection_view import CollectionCache, CollectionView
from rcc_integrations.reader.compatibility import check_fingerprint
from rcc_integrations.reader.request import Part, Request
from rcc_integrations.reader.scratch import Scratch
from rcc_integrations.reader.window_ranker import WindowRanker
from rcc_integrations.routing.route import Route, choose_windows

if TYPE_CHECKING:
    from rcc_integrations.model.rcc_model import RCCModel


@dataclass(frozen=True)
class SelectedWindows:
    """The windows of one collection that a request reads.

    Args:
        view: The collection.
        route: The windows.
        expanded: Numbers of those among them that are inserted as uncompressed text.
    """

    view: CollectionView
    route: Route
    expanded: frozenset[int] = frozenset()

    @property
    def windows(self) -> list[WindowRecord]:
        """The windows in memory, in order."""
        return [self.view.windows[number] for number in self.route.chosen if number not in self.expanded]

    @property
    def texts(self) -> list[str]:
        """The texts of the windows that are inserted as text, in order."""
        return [self.view.window_text(number) for number in sorted(self.expanded)]


class WindowSelector:
    """Chooses the windows that a request reads.

    Args:
        collections: The collections in RAM.
        scratch: Memory of prompts.
        ranker: Scores windows for a question.
    """

    def __init__(self, collections: CollectionCache, scratch: Scratch, ranker: WindowRanker) -> None:
        self._collections, self._scratch, self._ranker = collections, scratch, ranker

    def select(
        self,
        request: Request,
        model: RCCModel,
        room: int,
        views: Mapping[str, CollectionView] = MappingProxyType({}),
        *,
        must_fit: bool = True,
    ) -> list[SelectedWindows]:
        """Choose windows for every part of a request.

        Args:
            request: The request; each of its parts gets what room the parts before it left.
            model: The model that reads the memories.
            room: The most slots.
            views: Collections that are not stored, by name.
            must_fit: Whether it is an error if not even one window of a part fits.

        Raises:
            ConfigError: If not even one window of a part fits.
            EmptyCollectionError: If a part has no windows to choose from.
            FingerprintMismatchError: If memories were made by another model, or at ratios that differ.
            UnknownCollectionError: If a collection does not exist.
            UnknownDocumentError: If a collection lacks a document that the request names.
        """
        selections: list[SelectedWindows] = []
        for part in request.parts:
            view = views.get(part.collection) or self._view(part)
            check_fingerprint(view.record, model)
            if selections and view.record.fingerprint != selections[0].view.record.fingerprint:
                raise FingerprintMismatchError(
                    f"Collections {selections[0].view.record.name!r} and {part.collection!r} were made at different "
                    "ratios; memories of the two cannot stand beside one another."
                )
            limit = request.vote or part.max_windows or model.config.max_windows
            numbers = _candidates(part, view)
            scorer = self._ranker.scorer(view, request.question, numbers, request.routing)
            route = choose_windows(scorer, numbers, view.slots, room, limit)
            if not route.chosen and must_fit:
                raise ConfigError(
                    f"No window of {part.collection!r} fits into the {room} positions beside this question."
                )
            selections.append(SelectedWindows(view, route))
            room -= sum(window.slots for window in selections[-1].windows)
        return expand_best(selections, request.expand)

    def cover(self, request: Request, model: RCCModel, room: int) -> list[Request]:
        """Split a request into requests that together read every window, each as many as fit; see `RCCReader.cover`.

        Args:
            request: The request.
            model: The model that reads the memories.
            room: The most slots of each request.
        """
        requests: list[Request] = []
        for part in request.parts:
            view = self._view(part)
            limit = part.max_windows or model.config.max_windows or len(view.windows)
            page: set[str] = set()
            slots = 0
            pages = [page]
            windows = [view.windows[number] for number in _candidates(part, view)]
            # Equal windows have one memory, which is read once.
            for window in {window.key: window for window in windows}.values():
                if page and (slots + window.slots > room or len(page) == limit):
                    pages.append(page := set())
                    slots = 0
                page.add(window.key)
                slots += window.slots
            requests += [replace(request, parts=(replace(part, windows=frozenset(keys)),)) for keys in pages]
        return requests

    def _view(self, part: Part) -> CollectionView:
        return (self._scratch.collections if part.scratch else self._collections).get(part.collection)


def expand_best(selections: Sequence[SelectedWindows], count: int) -> list[SelectedWindows]:
    """Mark the windows that fit a question best as inserted as text.

    Args:
        selections: The windows of each part.
        count: How many windows of all parts together to mark.
    """
    if not count:
        return list(selections)  # windows are ranked only where a rank is asked for
    ranked = sorted(
        (-float(each.route.scores[number]), part, place, number)
        for part, each in enumerate(selections)
        for place, number in enumerate(each.route.ranked)
    )
    best = {(part, number) for _, part, _, number in ranked[:count]}
    return [replace(each, expanded=frozenset(number for number in each.route.chosen if (part, number) in best))
            for part, each in enumerate(selections)]  # fmt: skip


def single_windows(selections: Sequence[SelectedWindows], count: int) -> list[SelectedWindows]:
    """Return the windows that match a question best, each alone, best first.

    Args:
        selections: The windows of each part.
        count: The most windows.
    """
    if not count:
        return []  # windows are ranked only where a rank is asked for
    ranked = sorted(
        (-float(each.route.scores[number]), part, number)
        for part, each in enumerate(selections)
        for number in each.route.chosen
    )
    return [replace(selections[part], route=replace(selections[part].route, chosen=(number,)))
            for _, part, number in ranked[:count]]  # fmt: skip


def _candidates(part: Part, view: CollectionView) -> Sequence[int]:
    """Return the numbers of the windows that a part allows, at least one."""
    numbers = view.numbers(part.documents)
    if part.windows is not None:
        # Equal windows have one memory, which is read once.
        first = {view.windows[number].key: number for number in reversed(numbers)}
        numbers = sorted(number for key, number in first.items() if key in part.windows)
    if numbers:
        return numbers
    if not view.windows:
        raise EmptyCollectionError(f"Collection {part.collection!r} is empty: add documents before asking it.")
    raise EmptyCollectionError(
        f"None of the {len(view.windows)} windows of collection {part.collection!r} were chosen, so there is "
        "nothing to answer from: name documents that it has, or leave the choice out."
    )
