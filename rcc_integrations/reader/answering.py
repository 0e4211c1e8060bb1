"""From a question to its answer: choose windows, bring their memories into a prefix, generate, report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from rcc_integrations.config import NOT_STATED
from rcc_integrations.errors import (
    BlobsMissingError,
    BudgetError,
    ConfigError,
    EmptyCollectionError,
    FingerprintMismatchError,
)
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.model.streaming import GenerationStream
from rcc_integrations.reader.answer import Answer, AnswerStream, Timings, Usage
from rcc_integrations.reader.collection_view import Shelf, Shelves, unstored
from rcc_integrations.reader.compatibility import check_fingerprint, ratio_of
from rcc_integrations.reader.observer import watched
from rcc_integrations.reader.prefix_cache import PrefixCache
from rcc_integrations.reader.prepared import Laid, Prepared, expanded, groups
from rcc_integrations.reader.prompt import Prompt, build_prompt
from rcc_integrations.reader.request import Part, Request
from rcc_integrations.reader.scratch import Scratch
from rcc_integrations.routing.spans import find_spans
from rcc_integrations.routing.support import find_support

if TYPE_CHECKING:
    from rcc_integrations.model.generation import Generation
    from rcc_integrations.model.prefix import Prefix
    from rcc_integrations.model.rcc_model import RCCModel

#: A question that meets a change of its collection in between is prepared again so often.
_TRIES = 5


class Asker:
    """Answers requests over the collections of a store; see `RCCReader.ask` for options and errors.

    Args:
        store: The store.
        model: Returns the model, loaded when it is first needed.
        shelves: The collections in RAM.
        prefixes: The prefixes in RAM.
        scratch: Memory of prompts.
    """

    def __init__(
        self,
        store: MemoryStore,
        model: Callable[[], RCCModel],
        shelves: Shelves,
        prefixes: PrefixCache,
        scratch: Scratch | None = None,
    ) -> None:
        self._store, self._model, self._shelves, self._prefixes = store, model, shelves, prefixes
        self._scratch = scratch or Scratch(model)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests, those that can be in one batch."""
        prepared = [self.prepare(request) for request in requests]
        found: dict[int, Answer] = {}
        for numbers in groups(prepared):
            answers = self.generate([prepared[number] for number in numbers])
            found.update(zip(numbers, answers, strict=True))
        return [found[number] for number in range(len(prepared))]

    def generate(
        self,
        prepared: Sequence[Prepared],
        emit: Callable[[int, str], None] | None = None,
        cancel: Sequence[threading.Event] | None = None,
    ) -> list[Answer]:
        """Generate the answers of one batch.

        Args:
            prepared: Requests of one kind.
            emit: Called with (row, piece) whenever text of a row is certain.
            cancel: An event a row; the row ends soon after it is set.
        """
        first: dict[int, float] = {}

        def note(row: int, piece: str) -> None:
            first.setdefault(row, time.perf_counter())
            # What may be taken back is not said before it is whole.
            if emit is not None and not prepared[row].request.min_confidence:
                emit(row, piece)

        with watched([one.request.watch for one in prepared], "generate") as counts:
            done = self._model().generate(
                [one.prefix for one in prepared],
                [one.ids for one in prepared],
                prepared[0].request.options,
                grammars=[one.grammar for one in prepared],
                plain=not prepared[0].laid,
                emit=note,
                cancel=cancel,
            )
            for one, generation, found in zip(prepared, done, counts, strict=True):
                question = len(one.ids) - one.clear_tokens + one.prefix.text_tokens
                found.update(question_tokens=question, answer_tokens=len(generation.ids))
        now = time.perf_counter()
        answers = [
            self._answer(one, generation, first.get(row, now) - one.started)
            for row, (one, generation) in enumerate(zip(prepared, done, strict=True))
        ]
        for row, (one, answer) in enumerate(zip(prepared, answers, strict=True)):
            if emit is not None and one.request.min_confidence and answer.text:
                emit(row, answer.text)
        return answers

    def stream(self, request: Request) -> AnswerStream:
        """Answer a request piece by piece."""
        one = self.prepare(request)
        pieces = GenerationStream(lambda *, emit, cancel: self.generate([one], emit=emit, cancel=[cancel])[0])
        return AnswerStream(pieces)

    def prepare(self, request: Request) -> Prepared:
        """Choose a request's windows and bring their memories into a prefix."""
        for part in request.parts:
            if not part.scratch:
                self._store.collection(part.collection)  # an unknown name is said before a model is loaded
        model = self._model()
        started = time.perf_counter()
        prompt, room = self._room(request, model)
        if not request.parts:
            return Prepared(request, prompt.after, 0, (), model.empty_prefix(), started, 0.0, 0.0)
        for attempt in range(_TRIES):
            begun = time.perf_counter()
            with watched([request.watch], "route") as (counts,):
                laid = self._lay(request, model, room)
                counts["windows"] = sum(len(each.windows) for each in laid)
                counts["windows_in_collection"] = sum(len(each.shelf.windows) for each in laid)
            routed = time.perf_counter()
            try:
                with watched([request.watch], "load") as (counts,):
                    prefix = self._prefix(laid, prompt.before)
                    counts["memory_slots"] = prefix.slots
                    counts["source_tokens"] = sum(window.tokens for each in laid for window in each.windows)
                clear = [token for each in laid for text in each.clear for token in model.token_ids(text)]
                break
            except BlobsMissingError:
                # A collection changed after it was looked at.
                if attempt == _TRIES - 1 or not any(self._changed(each) for each in laid):
                    raise
        loaded = time.perf_counter()
        ids = (*clear, *prompt.after)
        return Prepared(request, ids, len(clear), tuple(laid), prefix, started, routed - begun, loaded - routed)

    def count(self, request: Request, texts: Mapping[str, Mapping[str, str]], ratio: int | None = None) -> int:
        """Return how many positions a request would take in front of its answer; nothing is loaded or stored.

        Args:
            request: The request.
            texts: Texts by document id by collection that the request names and that need not be stored yet.
            ratio: The ratio that they would be compressed at.

        Raises:
            RCCError: As in `prepare`, but for what does not fit: it is counted all the same.
        """
        model = self._model()
        prompt = self._prompt(request, model)
        if not request.parts:
            return len(prompt.after)
        front = model.text_prefix().length if prompt.before is None else len(prompt.before)
        used = front + len(prompt.after)
        room = max(0, model.reach - used - request.options.max_new_tokens - request.expand * model.config.window)
        views = {name: unstored(model, name, texts[name], ratio or model.config.ratio) for name in texts}
        for each in self._lay(request, model, room, views, must_fit=False):
            used += sum(window.slots for window in each.windows)
            used += sum(len(model.token_ids(text)) for text in each.clear)
        return used

    def _shelf(self, part: Part, views: Mapping[str, Shelf]) -> Shelf:
        if part.collection in views:
            return views[part.collection]
        return (self._scratch.shelves if part.scratch else self._shelves).get(part.collection)

    def _lay(
        self,
        request: Request,
        model: RCCModel,
        room: int,
        views: Mapping[str, Shelf] = MappingProxyType({}),
        *,
        must_fit: bool = True,
    ) -> list[Laid]:
        laid: list[Laid] = []
        for part in request.parts:
            shelf = self._shelf(part, views)
            check_fingerprint(shelf.collection, model)
            if laid and shelf.collection.fingerprint != laid[0].shelf.collection.fingerprint:
                raise FingerprintMismatchError(
                    f"Collections {laid[0].shelf.collection.name!r} and {part.collection!r} were made at different "
                    "ratios; memories of the two cannot stand beside one another."
                )
            numbers = self._numbers(part, shelf)
            limit = part.max_windows or model.config.max_windows
            route = shelf.route(request.question, numbers, room, limit)
            if not route.chosen and must_fit:
                raise ConfigError(
                    f"No window of {part.collection!r} fits into the {room} positions beside this question."
                )
            laid.append(Laid(shelf, route))
            room -= sum(window.slots for window in laid[-1].windows)
        return expanded(laid, request.expand)

    def _numbers(self, part: Part, shelf: Shelf) -> Sequence[int]:
        numbers = shelf.numbers(part.documents)
        if part.windows is not None:
            # Equal windows have one memory, which is read once.
            first = {shelf.windows[number].key: number for number in reversed(numbers)}
            numbers = sorted(number for key, number in first.items() if key in part.windows)
        if numbers:
            return numbers
        if not shelf.windows:
            raise EmptyCollectionError(f"Collection {part.collection!r} is empty: add documents before asking it.")
        raise EmptyCollectionError(
            f"None of the {len(shelf.windows)} windows of collection {part.collection!r} were chosen, so there is "
            "nothing to answer from: name documents that it has, or leave the choice out."
        )

    def cover(self, request: Request) -> list[Request]:
        """Split a request into some that together read every window of its collections, each as many as fit.

        Equal windows are read once.

        Raises:
            RCCError: As in `prepare`.
        """
        model = self._model()
        found: list[Request] = []
        room = self._room(request, model)[1]
        for part in request.parts:
            shelf = self._shelf(part, {})
            limit = part.max_windows or model.config.max_windows or len(shelf.windows)
            page: set[str] = set()
            slots = 0
            pages = [page]
            windows = [shelf.windows[number] for number in self._numbers(part, shelf)]
            for window in {window.key: window for window in windows}.values():
                if page and (slots + window.slots > room or len(page) == limit):
                    pages.append(page := set())
                    slots = 0
                page.add(window.key)
                slots += window.slots
            found += [replace(request, parts=(replace(part, windows=frozenset(keys)),)) for keys in pages]
        return found

    def _prompt(self, request: Request, model: RCCModel) -> Prompt:
        asked = request.alone
        if asked is not None:
            return Prompt(None, tuple(model.question_ids(asked.strip())))
        return build_prompt(request.turns or (), model.tokenizer, model.config, memory=bool(request.parts))

    def _room(self, request: Request, model: RCCModel) -> tuple[Prompt, int]:
        prompt = self._prompt(request, model)
        room = model.slot_room(prompt.after, request.options.max_new_tokens, before=prompt.before)
        clear = request.expand * model.config.window
        if clear >= room:
            raise BudgetError(
                f"expand={request.expand} may take {clear} positions, windows of up to {model.config.window} tokens in "
                f"clear; {room} are left beside the question and its answer. Lower expand or max_new_tokens."
            )
        return prompt, room - clear

    def _changed(self, laid: Laid) -> bool:
        collection = laid.shelf.collection
        return (laid.shelf.store or self._store).collection(collection.name).revision != collection.revision

    def _prefix(self, laid: Sequence[Laid], before: tuple[int, ...] | None) -> Prefix:
        windows = [window for each in laid for window in each.windows]
        key = (laid[0].shelf.collection.fingerprint, before, tuple(window.key for window in windows))
        prefix = self._prefixes.get(key)
        if prefix is None:
            from rcc_integrations.reader.prefix_loader import load_prefix

            first, *others = ((each.shelf.store or self._store, each.windows) for each in laid)
            ratio = ratio_of(laid[0].shelf.collection)
            prefix = load_prefix(first[0], self._model(), first[1], ratio, before, others)
            self._prefixes.put(key, prefix)
        return prefix

    def _answer(self, one: Prepared, generation: Generation, first: float) -> Answer:
        request, windows = one.request, [window for each in one.laid for window in each.windows]
        text, confidence = generation.text, None
        if one.laid and request.grammar is None:
            confidence = self._model().confidence(generation)
            if confidence < request.min_confidence and generation.finish_reason != "cancelled":
                text = NOT_STATED
        usage = Usage(
            memory_slots=one.prefix.slots,
            question_tokens=len(one.ids) - one.clear_tokens + one.prefix.text_tokens,
            answer_tokens=len(generation.ids),
            windows=len(windows),
            windows_in_collection=sum(len(each.shelf.windows) for each in one.laid),
            source_tokens=sum(window.tokens for window in windows),
            expanded=sum(len(each.expanded) for each in one.laid),
            clear_tokens=one.clear_tokens,
        )
        # What a message brought along stands before the collection that was asked.
        stored = [part for part in zip(request.parts, one.laid, strict=True) if not part[0].scratch]
        collection = stored[-1][1].shelf.collection if stored else None
        spans = find_spans(text, one.passages) if request.grounded else ()
        shown = request.sources if text != NOT_STATED else 0
        support = find_support(text, request.question, one.passages, shown)
        timings = Timings(one.route_seconds, one.load_seconds, first, time.perf_counter() - one.started)
        return Answer(
            text,
            one.sources,
            usage,
            timings,
            generation.finish_reason,
            collection.name if collection else "",
            collection.revision if collection else 0,
            confidence,
            spans,
            support,
        )
