"""`AnswerEngine`: from requests to answers, through routing, prefixes and generation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rcc_integrations.errors import BlobsMissingError, BudgetError
from rcc_integrations.memory.store import MemoryStore
from rcc_integrations.reader.answer import Answer
from rcc_integrations.reader.answer_builder import build_answer
from rcc_integrations.reader.collection_view import PATIENCE_SECONDS, CollectionCache, changing, unstored
from rcc_integrations.reader.compatibility import ratio_of
from rcc_integrations.reader.observer import observed
from rcc_integrations.reader.prefix_cache import PrefixCache
from rcc_integrations.reader.prepared import Prepared
from rcc_integrations.reader.prompt import Prompt, build_prompt
from rcc_integrations.reader.request import Request
from rcc_integrations.reader.scratch import Scratch
from rcc_integrations.reader.selection import SelectedWindows, WindowSelector, single_windows
from rcc_integrations.reader.window_ranker import WindowRanker

if TYPE_CHECKING:
    from rcc_integrations.model.generation import Generation
    from rcc_integrations.model.prefix import Prefix
    from rcc_integrations.model.rcc_model import RCCModel


class AnswerEngine:
    """Prepares requests over the collections of a store and generates their answers; see `RCCReader.ask` for errors.

    Args:
        store: The store.
        model: Returns the model, loaded when it is first needed.
        collections: The collections in RAM.
        prefixes: The prefixes in RAM.
        scratch: Memory of prompts.
        ranker: Scores windows for a question.
    """

    def __init__(
        self,
        store: MemoryStore,
        model: Callable[[], RCCModel],
        collections: CollectionCache,
        prefixes: PrefixCache,
        scratch: Scratch,
        ranker: WindowRanker,
    ) -> None:
        self._store, self._model, self._prefixes = store, model, prefixes
        self._selector = WindowSelector(collections, scratch, ranker)

    def prepare(self, request: Request) -> Prepared:
        """Choose a request's windows and bring their memories into a prefix."""
        for part in request.parts:
            if not part.scratch:
                # An unknown name is reported before a model is loaded.
                self._store.renew(self._store.collection(part.collection))
        model = self._model()
        started = time.perf_counter()
        prompt, room = self._room(request, model)
        if not request.parts:
            return Prepared(request, prompt.after, model.empty_prefix(), started)
        while True:
            begun = time.perf_counter()
            with observed([request.on_step], "route") as (counts,):
                selections = self._selector.select(request, model, room)
                counts["windows"] = sum(len(each.windows) for each in selections)
                counts["windows_in_collection"] = sum(len(each.view.windows) for each in selections)
            routed = time.perf_counter()
            try:
                with observed([request.on_step], "load") as (counts,):
                    singles = single_windows(selections, request.vote)
                    prefixes = [self._prefix([each], prompt.before) for each in singles]
                    prefix = prefixes[0] if prefixes else self._prefix(selections, prompt.before)
                    counts["memory_slots"] = sum(each.slots for each in prefixes or [prefix])
                    counts["source_tokens"] = sum(window.tokens for each in selections for window in each.windows)
                clear = [token for each in selections for text in each.texts for token in model.token_ids(text)]
                break
            except BlobsMissingError:
                # A collection changed after it was looked at: look again.
                moved = [each.view.record.name for each in selections if self._changed(each)]
                if not moved:
                    raise
                if time.perf_counter() - started > PATIENCE_SECONDS:
                    raise changing(moved[0]) from None
        ids = (*clear, *prompt.after)
        loaded = time.perf_counter()

        def prepared(read: Prefix, windows: tuple[SelectedWindows, ...]) -> Prepared:
            return Prepared(
                request, ids, read, started, windows, route_seconds=routed - begun, load_seconds=loaded - routed
            )

        voters = tuple(prepared(own, (single,)) for single, own in zip(singles, prefixes, strict=True))
        return replace(prepared(prefix, tuple(selections)), clear_tokens=len(clear), voters=voters)

    def cover(self, request: Request) -> list[Request]:
        """Split a request into some that together read every window of its collections, each as many as fit.

        Raises:
            RCCError: As in `prepare`.
        """
        model = self._model()
        return self._selector.cover(request, model, self._room(request, model)[1])

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
            cancel: An event for each row; the row ends soon after it is set.
        """
        rows = [(number, row) for number, each in enumerate(prepared) for row in each.rows]
        first: dict[int, float] = {}

        def note(row: int, piece: str) -> None:
            number = rows[row][0]
            first.setdefault(number, time.perf_counter())
            # What may be withdrawn is not emitted before the answer is whole.
            if emit is not None and not _withheld(prepared[number]):
                emit(number, piece)

        model = self._model()
        with observed([each.request.on_step for each in prepared], "generate") as counts:
            generations = model.generate(
                [row.prefix for _, row in rows],
                [row.ids for _, row in rows],
                prepared[0].request.options,
                grammars=[row.grammar for _, row in rows],
                plain=not prepared[0].selections,
                emit=note,
                cancel=None if cancel is None else [cancel[number] for number, _ in rows],
            )
            for each, counted in zip(prepared, counts, strict=True):
                counted.update(question_tokens=each.question_tokens, answer_tokens=0)
            for (number, _), generation in zip(rows, generations, strict=True):
                counts[number]["answer_tokens"] += len(generation.ids)
        now = time.perf_counter()
        answers: list[Answer] = []
        for number, each in enumerate(prepared):
            own = [(row, generation) for (of, row), generation in zip(rows, generations, strict=True) if of == number]
            answers.append(self._answer(each, own, first.get(number, now)))
            if emit is not None and _withheld(each) and answers[number].text:
                emit(number, answers[number].text)
        return answers

    def _answer(self, prepared: Prepared, own: Sequence[tuple[Prepared, Generation]], first_token: float) -> Answer:
        """Return the answer of a request; of several voters', the one that decoder and router are surest of."""
        judged = prepared.selections and prepared.request.grammar is None
        confidences = [self._model().confidence(generation) if judged else None for _, generation in own]
        if not prepared.voters:
            return build_answer(prepared, own[0][1], confidences[0], first_token)
        sure = [(confidence or 0.0) * row.router_score for (row, _), confidence in zip(own, confidences, strict=True)]
        best = max(range(len(own)), key=lambda number: sure[number])
        answer = build_answer(own[best][0], own[best][1], confidences[best], first_token)
        others = [source for source in prepared.sources if source not in answer.sources]
        windows = [window for row, _ in own for each in row.selections for window in each.windows]
        usage = replace(
            answer.usage,
            memory_slots=sum(row.prefix.slots for row, _ in own),
            answer_tokens=sum(len(generation.ids) for _, generation in own),
            windows=len(windows),
            source_tokens=sum(window.tokens for window in windows),
        )
        return replace(answer, usage=usage, sources=(*answer.sources, *others)[: prepared.request.sources])

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
        for each in self._selector.select(request, model, room, views, must_fit=False):
            used += sum(window.slots for window in each.windows)
            used += sum(len(model.token_ids(text)) for text in each.texts)
        return used

    def _prompt(self, request: Request, model: RCCModel) -> Prompt:
        """Return what stands around the memories."""
        asked = request.alone
        if asked is not None:
            return Prompt(None, tuple(model.question_ids(asked.strip())))
        return build_prompt(request.turns or (), model.tokenizer, model.config, memory=bool(request.parts))

    def _room(self, request: Request, model: RCCModel) -> tuple[Prompt, int]:
        """Return what stands around the memories, and how many slots fit beside it and the answer."""
        prompt = self._prompt(request, model)
        room = model.slot_room(prompt.after, request.options.max_new_tokens, before=prompt.before)
        clear = request.expand * model.config.window
        if clear >= room:
            raise BudgetError(
                f"expand={request.expand} may take {clear} positions, windows of up to {model.config.window} tokens in "
                f"clear; {room} are left beside the question and its answer. Lower expand or max_new_tokens."
            )
        return prompt, room - clear

    def _changed(self, selection: SelectedWindows) -> bool:
        record = selection.view.record
        return (selection.view.store or self._store).collection(record.name).revision != record.revision

    def _prefix(self, selections: Sequence[SelectedWindows], before: tuple[int, ...] | None) -> Prefix:
        windows = [window for each in selections for window in each.windows]
        record = selections[0].view.record
        key = (record.fingerprint, before, tuple(window.key for window in windows))
        prefix = self._prefixes.get(key)
        if prefix is None:
            from rcc_integrations.reader.prefix_loader import load_prefix

            first, *others = ((each.view.store or self._store, each.windows) for each in selections)
            prefix = load_prefix(first[0], self._model(), first[1], ratio_of(record), before, others)
            self._prefixes.put(key, prefix)
        return prefix


def _withheld(prepared: Prepared) -> bool:
    """Return whether an answer is emitted as a whole, because it may be withdrawn until then."""
    return bool(prepared.request.min_confidence or prepared.voters)
