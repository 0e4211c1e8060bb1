"""`Request`: everything about one answer that is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rcc_integrations.chat import Turn, merged
from rcc_integrations.errors import ConfigError
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.watching import Watch


@dataclass(frozen=True)
class Part:
    """Memory to answer from.

    Args:
        collection: Name of the collection.
        documents: Ids of the documents; all if not given.
        max_windows: The most windows of it; what the model was trained with if not given.
        windows: Keys of the windows; all if not given. Those that are gone by then are left out.

    Raises:
        ConfigError: If `max_windows` is not a whole number above 0.
    """

    collection: str
    documents: tuple[str, ...] | None = None
    max_windows: int | None = None
    windows: frozenset[str] | None = None

    def __post_init__(self) -> None:
        most = self.max_windows
        if most is not None and (not isinstance(most, int) or isinstance(most, bool) or most < 1):
            raise ConfigError(f"max_windows must be a whole number of at least 1; it is {most!r}.")


@dataclass(frozen=True)
class Request:
    """A question, or a conversation, and how it is to be answered.

    Args:
        question: What windows are chosen by; without `turns` also what is asked.
        parts: Memories to answer from, in order; without any, the base model answers, as a plain chat model.
        turns: The whole conversation; the question alone in the model's own template if not given.
        options: How to generate.
        grammar: What the answer may look like; a `rcc_integrations.model.grammar.Grammar`.
        sources: How many windows to name.
        grounded: Hold the answer to words that stand in the texts in memory, one passage of them, or `not stated`.
        watch: Told of the steps of the work, in the thread that does it.

    Raises:
        ConfigError: If the question is empty, `sources` is not a whole number from 0, or a grounded answer has a
            grammar too, or nothing to be found in.
    """

    question: str
    parts: tuple[Part, ...] = ()
    turns: tuple[Turn, ...] | None = None
    options: GenerationOptions = field(default_factory=GenerationOptions)
    grammar: Any = None
    sources: int = 3
    grounded: bool = False
    watch: Watch | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.turns is None and (not isinstance(self.question, str) or not self.question.strip()):
            raise ConfigError(f"The question is empty: {self.question!r}.")
        if not isinstance(self.sources, int) or self.sources < 0:
            raise ConfigError(f"sources must be a whole number of at least 0; it is {self.sources!r}.")
        if self.grounded and (self.grammar is not None or not self.parts):
            raise ConfigError(
                "A grounded answer is held to the texts in memory: it needs a collection, and takes no grammar beside."
            )

    @property
    def alone(self) -> str | None:
        """The question, if there is nothing beside it: it is put in the words that the model was trained on."""
        if self.turns is None:
            return self.question
        turns = merged(self.turns)
        return turns[0].content if self.parts and len(turns) == 1 and turns[0].role == "user" else None

    @classmethod
    def about(cls, collection: str, question: str, options: dict[str, Any]) -> Request:
        """Make the request of `RCCReader.ask`.

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
        shown, grammar = options.pop("sources", 3), options.pop("grammar", None)
        grounded = options.pop("grounded", False)
        return cls(question, (part,), None, GenerationOptions().but(**options), grammar, shown, grounded)
