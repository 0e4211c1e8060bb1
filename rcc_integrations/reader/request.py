"""`Request`: a question, or a conversation, and how it is to be answered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rcc_integrations.errors import ConfigError
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.reader.observer import StepCallback
from rcc_integrations.reader.prompt import Turn, merged
from rcc_integrations.routing.route import ROUTINGS, Routing

#: Options of `RCCReader.ask` that are a request's own.
_OWN = ("grammar", "sources", "grounded", "expand", "min_confidence", "routing", "vote")


@dataclass(frozen=True)
class Part:
    """Memory to answer from.

    Args:
        collection: Name of the collection.
        documents: Ids of the documents; all if not given.
        max_windows: Maximum number of its windows in memory; the model's own setting if not given.
        windows: Keys of the windows; all if not given. Windows that no longer exist are left out.
        scratch: Whether it is memory of a prompt, beside the store; see `reader.scratch`.

    Raises:
        ConfigError: `max_windows` is not a whole number above 0.
    """

    collection: str
    documents: tuple[str, ...] | None = None
    max_windows: int | None = None
    windows: frozenset[str] | None = None
    scratch: bool = False

    def __post_init__(self) -> None:
        most = self.max_windows
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ConfigError(f"max_windows must be a whole number of at least 1; it is {most!r}.")


@dataclass(frozen=True)
class Request:
    """A question, or a conversation, and how it is to be answered.

    Args:
        question: The text by which windows are chosen; without `turns`, also the question.
        parts: Memories to answer from, in order; if empty, the base model answers as an ordinary chat model.
        turns: The whole conversation; if empty, the question alone is asked in the model's own template.
        options: How to generate.
        grammar: Grammar of the answer; a `Grammar`.
        sources: How many sources to name.
        grounded: Restrict the answer to a verbatim span of the texts in memory, a list of such spans, or `not stated`.
        expand: How many of the windows that match the question best are inserted as uncompressed text instead.
        min_confidence: Abstain (`not stated`) if the answer's confidence is below this.
        routing: How windows are chosen: by `both` memory and words, by `memory`, or by `words` alone.
        vote: How many of the best windows are each answered from alone, in one batch; the answer whose confidence
            times the router's score is highest is returned. 0 reads the windows together.
        on_step: Callback invoked when each step starts and ends, in the thread that does the work.

    Raises:
        ConfigError: The question is empty, `sources`, `expand` or `vote` is negative or not a whole number,
            `min_confidence` is not a number from 0 to 1, `routing` is unknown, or `grounded`, `min_confidence` or
            `vote` is combined with a grammar or used without a collection.
    """

    question: str
    parts: tuple[Part, ...] = ()
    turns: tuple[Turn, ...] | None = None
    options: GenerationOptions = field(default_factory=GenerationOptions)
    grammar: Any = None
    sources: int = 3
    grounded: bool = False
    expand: int = 0
    min_confidence: float = 0.0
    routing: Routing = "both"
    vote: int = 0
    on_step: StepCallback | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.turns is None and (not isinstance(self.question, str) or not self.question.strip()):
            raise ConfigError(f"The question is empty: {self.question!r}.")
        for name, count in (("sources", self.sources), ("expand", self.expand), ("vote", self.vote)):
            if not isinstance(count, int) or isinstance(count, bool) or count < 0:
                raise ConfigError(f"{name} must be a whole number of at least 0; it is {count!r}.")
        least = self.min_confidence
        if not isinstance(least, int | float) or isinstance(least, bool) or not 0 <= least <= 1:
            raise ConfigError(f"min_confidence must be a number from 0 to 1; it is {least!r}.")
        if self.routing not in ROUTINGS:
            raise ConfigError(f"routing must be one of {', '.join(ROUTINGS)}; it is {self.routing!r}.")
        free = self.grammar is None and bool(self.parts)
        if self.vote and (self.expand or not free):
            raise ConfigError(
                "vote compares answers from single windows by their confidence: it needs a collection, and goes "
                "without a grammar and expand."
            )
        if self.grounded and not free:
            raise ConfigError(
                "A grounded answer is held to the texts in memory: it needs a collection, and takes no grammar beside."
            )
        if least and not free:
            raise ConfigError(
                "min_confidence asks whether the documents answer the question: it needs a collection, and takes no "
                "grammar beside."
            )

    @property
    def alone(self) -> str | None:
        """The question, if it is asked in the template that the model was trained on."""
        if self.turns is None:
            return self.question
        turns = merged(self.turns)
        return turns[0].content if self.parts and len(turns) == 1 and turns[0].role == "user" else None

    @classmethod
    def about(cls, collection: str, question: str, options: dict[str, Any]) -> Request:
        """Return the request that `RCCReader.ask` makes.

        Args:
            collection: Name of the collection.
            question: The question.
            options: As `RCCReader.ask` takes them.
        """
        options = dict(options)
        documents = options.pop("documents", None)
        if documents is not None:
            documents = (documents,) if isinstance(documents, str) else tuple(documents)
        part = Part(collection, documents, options.pop("max_windows", None))
        own = {name: options.pop(name) for name in _OWN if name in options}
        return cls(question, (part,), options=GenerationOptions().but(**options), **own)
