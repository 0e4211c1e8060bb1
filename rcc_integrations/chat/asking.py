"""From a conversation to its answer: what came along is compressed, the question asked, the answer read."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from rcc_integrations.chat.conversation import Conversation
from rcc_integrations.chat.output import OutputForm, Shown, Written
from rcc_integrations.chat.settings import CallSettings, renamed
from rcc_integrations.document import Document
from rcc_integrations.errors import BudgetError, ConfigError, GenerationError
from rcc_integrations.reader.answer import Source
from rcc_integrations.reader.compatibility import ratio_of
from rcc_integrations.reader.observer import StepCallback
from rcc_integrations.reader.prompt import Turn
from rcc_integrations.reader.reader import RCCReader
from rcc_integrations.reader.request import Part, Request
from rcc_integrations.reader.ticket import LateError

#: Collections of what messages carried: documents, which are kept, and long prompts, which are not.
INPUTS, PROMPTS = "inputs", "prompts"


@dataclass(frozen=True)
class Asked:
    """A conversation that is ready to be answered.

    Args:
        reader: Who answers.
        request: What is asked.
        form: What the answer may be.
        documents: Documents that came along, to be put into the store.
        prompts: Long texts, to be put beside it.
        ratio: The ratio that both are compressed at.
        timeout: Seconds for everything.
    """

    reader: RCCReader
    request: Request
    form: OutputForm
    documents: Mapping[str, str]
    prompts: Mapping[str, str]
    ratio: int
    timeout: float | None = None

    @classmethod
    def about(
        cls,
        reader: RCCReader,
        told: Conversation,
        settings: CallSettings,
        stop: Sequence[str],
        form: OutputForm,
        *,
        windows: frozenset[str] | None = None,
        question: str | None = None,
        on_step: StepCallback | None = None,
    ) -> Asked:
        """Make the request of a conversation; nothing is compressed or stored.

        Args:
            reader: Who will answer.
            told: The conversation.
            settings: Settings of the call.
            stop: Strings that end an answer.
            form: What the answer may be.
            windows: Keys of the windows to read; chosen if not given.
            question: What windows are chosen by; what the conversation says if not given.
            on_step: Called when a step of the work begins and ends.

        Raises:
            ConfigError: If a setting cannot be used.
            UnknownCollectionError: There is no such collection.
        """
        collection, documents = settings["collection"], settings["documents"]
        turns = list(told.turns)
        if form.words:
            turns.insert(0, Turn("system", form.words))
        ratio = 0
        parts = []
        kept, fleeting = dict(told.documents), dict(told.prompts)
        if reader.store.read_only:
            kept, fleeting = {}, {**kept, **fleeting}
        if kept or fleeting:
            ratio = ratio_of(reader.store.collection(collection)) if collection else reader.model.config.ratio
        most = settings["max_windows"]
        if kept:
            parts.append(Part(_named(INPUTS, ratio), tuple(kept), most))
        if fleeting:
            parts.append(Part(_named(PROMPTS, ratio), tuple(fleeting), most, scratch=True))
        if collection is not None:
            parts.append(Part(collection, None if documents is None else tuple(documents), most, windows))
        own = settings.request
        if form.grammar is not None:
            own = {name: value for name, value in own.items() if name not in ("grounded", "min_confidence")}
        asked = told.question if question is None else question
        request = Request(asked, tuple(parts), tuple(turns), settings.generation(list(stop)), form.grammar,
                          on_step=on_step, **own)  # fmt: skip
        return cls(reader, request, form, kept, fleeting, ratio, settings["timeout"])

    def count(self) -> int:
        """Return how many positions of the decoder stand in front of the answer; nothing is compressed for it."""
        texts = {_named(INPUTS, self.ratio): self.documents} if self.documents else {}
        if self.prompts:
            texts[_named(PROMPTS, self.ratio)] = self.prompts
        return self.reader.count(replace(self.request, on_step=None), texts, self.ratio or None)

    def sources(self) -> tuple[Source, ...]:
        """Return the windows that the answer will name; what came along is compressed, and its memory at hand then."""
        self.remember()
        return self.reader.prepare(replace(self.request, on_step=None)).sources

    def remember(self, check: Callable[[], None] | None = None) -> None:
        """Compress what came along.

        Args:
            check: Called between batches; what it raises ends the work, and what is done stays.
        """

        def tell(_: object) -> None:
            if check is not None:
                check()

        if self.documents or self.prompts:
            tell(None)
        if self.documents:
            self.reader.add(_named(INPUTS, self.ratio), dict(self.documents), ratio=self.ratio, on_progress=tell)
        if self.prompts:
            documents = {name: Document(name, text) for name, text in self.prompts.items()}
            self.reader.scratch.add(_named(PROMPTS, self.ratio), documents, self.ratio, tell)

    def answer(self) -> Written:
        """Wait for the answer.

        Raises:
            GenerationError: If there was none in time, or it is half an object.
            RCCError: As in `RCCReader.ask`.
        """
        with _our_words(self.timeout):
            clock = _Clock(self.timeout)
            self.remember(clock.check)
            return self.form.read(self.reader.submit(self.request).result(clock.left()))

    async def aanswer(self) -> Written:
        """Wait for the answer without blocking the event loop; see `answer`."""
        with _our_words(self.timeout):
            clock = _Clock(self.timeout)
            await self._aremember(clock)
            return self.form.read(await self.reader.submit(self.request).aresult(clock.left()))

    def pieces(self) -> Generator[str | Written]:
        """Yield what can be shown of the answer as it becomes certain, then the answer; closing stops the work."""
        with _our_words(self.timeout):
            clock, shown = _Clock(self.timeout), Shown(self.form)
            self.remember(clock.check)
            with self.reader.stream_request(self.request, clock.left()) as stream:
                for piece in stream:
                    if text := shown.take(piece):
                        yield text
                yield self.form.read(stream.answer, shown.text)

    async def apieces(self) -> AsyncGenerator[str | Written]:
        """Yield pieces of the answer without blocking the event loop; see `pieces`."""
        with _our_words(self.timeout):
            clock, shown = _Clock(self.timeout), Shown(self.form)
            await self._aremember(clock)
            async with self.reader.stream_request(self.request, clock.left()) as stream:
                async for piece in stream:
                    if text := shown.take(piece):
                        yield text
                yield self.form.read(stream.answer, shown.text)

    async def _aremember(self, clock: _Clock) -> None:
        if not self.documents and not self.prompts:
            return
        try:
            await asyncio.to_thread(self.remember, clock.check)
        except asyncio.CancelledError:
            clock.cancelled.set()
            raise


class _Clock:
    """A deadline.

    Args:
        timeout: Seconds from now; `None` for no end.
    """

    def __init__(self, timeout: float | None) -> None:
        if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0):
            raise ConfigError(f"timeout must be a number of seconds above 0, or None; it is {timeout!r}.")
        self._timeout, self._began = timeout, time.monotonic()
        self.cancelled = threading.Event()

    def left(self) -> float | None:
        """Return the seconds that are left."""
        return None if self._timeout is None else max(0.0, self._timeout - (time.monotonic() - self._began))

    def check(self) -> None:
        """Refuse to go on behind the deadline, or when nobody waits any more.

        Raises:
            GenerationError: If so.
        """
        if self.cancelled.is_set():
            raise GenerationError("The question was cancelled while what came with it was compressed.")
        if self.left() == 0.0:
            raise GenerationError(
                f"There was no answer within the timeout of {self._timeout} seconds: what came with the question was "
                "still being compressed. What is done stays, so asking again goes on from there."
            )


@contextmanager
def _our_words(timeout: float | None) -> Iterator[None]:
    try:
        yield
    except LateError as error:
        raise GenerationError(f"There was no answer within the timeout of {timeout} seconds.") from error
    except (BudgetError, ConfigError) as error:
        other = renamed(error)
        if other is error:
            raise
        raise other from error


def _named(kind: str, ratio: int) -> str:
    return f"{kind} (ratio {ratio})"


def check_known(given: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Refuse arguments of a call that there are not, instead of dropping them.

    Raises:
        ConfigError: If there is one.
    """
    if unknown := sorted(set(given) - set(known)):
        raise ConfigError(f"{what} takes no {unknown[0]!r} in a call; it takes {', '.join(sorted(known))}.")
