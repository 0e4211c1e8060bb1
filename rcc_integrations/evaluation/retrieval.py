"""Controls that retrieve: the best uncompressed pieces of a document, in as many positions as its memory takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from rcc_integrations.evaluation.material import Material, read_clear
from rcc_integrations.evaluation.reading import Reading
from rcc_integrations.model.windows import Window, cut_windows
from rcc_integrations.routing.word_router import WordRouter

Ranking = Literal["bm25", "vector"]

#: Rankings and what tables call them.
RANKINGS: dict[Ranking, str] = {"bm25": "BM25", "vector": "vectors"}


def retrieved(material: Material, number: int, *, ratio: int, ranking: Ranking, short: bool) -> list[Reading]:
    """For every question, read the uncompressed pieces of the document that match it best, in reading order.

    Args:
        material: Model and documents.
        number: The document.
        ratio: The pieces take as many positions as the document has slots at this ratio.
        ranking: By shared words or by vectors.
        short: Cut the document into pieces of a sentence or two (a window's tokens divided by the ratio) instead of
            the model's windows, of which the room often holds no whole one.

    Raises:
        BudgetError: If they do not fit the decoder's positions.
    """
    model, sample = material.model, material.samples[number]
    longest = model.config.window // ratio if short else model.config.window
    # Not the model's own cut: released checkpoints repeat a text to fill a window.
    pieces = cut_windows(sample.text, model.tokenizer, max(1, longest))
    rank = _ranker(material, [sample.text[piece.start : piece.end] for piece in pieces], ranking)
    room = material.slots(number, ratio)
    read: dict[tuple[int, ...], Reading] = {}
    found = []
    for question in sample.questions:
        tokens = tuple(choose(pieces, rank(question.q), room))
        if tokens not in read:
            read[tokens] = Reading(read_clear(model, tokens))
        found.append(read[tokens])
    return found


def choose(pieces: Sequence[Window], scores: np.ndarray, room: int) -> list[int]:
    """Return the token ids of the best pieces, in reading order, the last one taken cut to fit.

    Args:
        pieces: Pieces of a document.
        scores: A score for each; of equals the earlier comes first.
        room: The most tokens.
    """
    taken: dict[int, tuple[int, ...]] = {}
    for number in np.argsort(-scores, kind="stable").tolist():
        if room <= 0:
            break
        taken[number] = pieces[number].ids[:room]
        room -= len(taken[number])
    return [token for number in sorted(taken) for token in taken[number]]


def _ranker(material: Material, texts: Sequence[str], ranking: Ranking) -> Callable[[str], np.ndarray]:
    if ranking == "bm25":
        return WordRouter(texts).scores
    embedder = material.embedder
    vectors = embedder.vectors(texts)

    def by_vectors(question: str) -> np.ndarray:
        scores: np.ndarray = vectors @ embedder.vectors([question])[0]
        return scores

    return by_vectors
