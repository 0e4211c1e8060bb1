"""`RoutingFeatures`: what a routing head is trained on, read off a model once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from rcc_integrations.config import NOT_STATED
from rcc_integrations.errors import DataError
from rcc_integrations.model.question_states import question_states
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.routing.word_router import WordRouter
from rcc_integrations.training.data.sample import Question, Sample

#: Questions that the decoder reads at once.
_QUESTIONS = 24
#: Windows of other documents that share most words with a question: so many are kept for training.
_HARD = 12


@dataclass
class RoutingFeatures:
    """Windows and questions of documents that stand together in one collection.

    Args:
        windows: What the codes of each window's entries are made of, float16, shape (entries, features) each.
        questions: What the codes of each question's tokens are made of, float16, shape (tokens, features) each.
        texts: The text of each window.
        asked: The text of each question.
        owners: The document of each window, ascending.
        documents: The document of each question.
        answers: The windows that hold an answer to each question; all of its document where that cannot be told.
        hard: Windows of other documents that share many words with each question.
    """

    windows: list[np.ndarray] = field(default_factory=list)
    questions: list[np.ndarray] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)
    answers: list[list[int]] = field(default_factory=list)
    hard: list[list[int]] = field(default_factory=list)

    @classmethod
    def read(
        cls,
        model: RCCModel,
        head: RoutingHead,
        samples: Sequence[Sample],
        ratio: int,
        tell: Callable[[int], None] = lambda _: None,
    ) -> RoutingFeatures:
        """Compress documents and let the decoder read their questions.

        Args:
            model: The model.
            head: Says which levels are read.
            samples: Documents with questions; those without an answer are left out.
            ratio: Compression ratio.
            tell: Called with the number of windows and questions that are read.

        Raises:
            DataError: If no question is left.
        """
        read = cls()
        layout = model.layout(ratio)
        ids: list[tuple[int, ...]] = []
        for number, sample in enumerate(samples):
            questions = [each for each in sample.questions if each.answers[0] != NOT_STATED]
            windows = model.cut(sample.text)
            if not questions or not windows:
                continue
            first = len(ids)
            ids += [window.ids for window in windows]
            read.texts += [sample.text[window.start : window.end] for window in windows]
            read.owners += [number] * len(windows)
            own = list(range(first, len(ids)))
            for question in questions:
                spans = _places(question, sample.text)
                holding = [first + each for each, window in enumerate(windows)
                           if any(window.start <= start < window.end for start in spans)]  # fmt: skip
                read.asked.append(question.q)
                read.documents.append(number)
                read.answers.append(holding or own)
        if not read.asked:
            raise DataError("A routing head is trained on questions that documents answer; there is none.")
        features: dict[int, np.ndarray] = {}
        for numbers, memories in model.compress_batches(ids, ratio):
            for number, memory in zip(numbers, memories, strict=True):
                features[number] = head.features(memory, layout).half().cpu().numpy()
            tell(len(numbers))
        read.windows = [features[number] for number in range(len(ids))]
        read._read_questions(model, head, tell)
        read._find_hard()
        return read

    def of_levels(self, wider: RoutingHead, head: RoutingHead) -> RoutingFeatures:
        """Return the same for a head that reads fewer levels, where entries of a level are alike at all ratios.

        Args:
            wider: The head whose features these are.
            head: The other; it reads questions as the first does.
        """
        each = head.key.in_features // len(head.levels)
        columns = np.concatenate([np.arange(each) + each * wider.levels.index(level) for level in head.levels])
        return replace(self, windows=[window[:, columns] for window in self.windows])

    def _read_questions(self, model: RCCModel, head: RoutingHead, tell: Callable[[int], None]) -> None:
        order = sorted(range(len(self.asked)), key=lambda number: len(self.asked[number]))
        states: dict[int, np.ndarray] = {}
        for first in range(0, len(order), _QUESTIONS):
            batch = order[first : first + _QUESTIONS]
            with torch.no_grad():
                made = question_states(
                    model.decoder, model.tokens, [self.asked[number] for number in batch], head.question_levels
                )
            states.update((number, each.half().cpu().numpy()) for number, each in zip(batch, made, strict=True))
            tell(len(batch))
        self.questions = [states[number] for number in range(len(self.asked))]

    def _find_hard(self) -> None:
        words, owners = WordRouter(self.texts), np.array(self.owners)
        for question, document in zip(self.asked, self.documents, strict=True):
            scores = np.where(owners == document, 0, words.scores(question))
            best = np.argsort(-scores, kind="stable")[:_HARD]
            self.hard.append([int(number) for number in best if scores[number] > 0])


def _places(question: Question, text: str) -> list[int]:
    """Return where the first accepted answer that stands in the text begins, each time that it does."""
    lowered = text.lower()
    for answer in question.answers:
        if places := [match.start() for match in re.finditer(re.escape(answer.lower()), lowered)]:
            return places
    return []
