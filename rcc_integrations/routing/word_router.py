"""`WordRouter`: which windows share most words with a question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

import bm25s
import numpy as np
from bm25s.stopwords import STOPWORDS_EN_PLUS

#: A word. Scripts written without spaces are taken character by character.
WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")
_STOP = frozenset(STOPWORDS_EN_PLUS)


class WordRouter:
    """Ranks windows by the words that they share with a question (BM25, computed by bm25s).

    Args:
        texts: Text of every window, in order.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._count = len(texts)
        words = [_words(text) for text in texts]
        self._frequencies = Counter(word for each in words for word in set(each))
        self._index: bm25s.BM25 | None = None
        if any(words):
            self._index = bm25s.BM25()
            self._index.index(words, show_progress=False)

    def scores(self, question: str) -> np.ndarray:
        """Return a score for every window, shape (windows,), float32; 0 where no word is shared."""
        asked = [word for word in _words(question) if self._index is not None and word in self._index.vocab_dict]
        if self._index is None or not asked:
            return np.zeros(self._count, dtype=np.float32)
        return np.asarray(self._index.get_scores(asked), dtype=np.float32)

    def ceiling(self, question: str) -> float:
        """Return what no text's score for a question exceeds: the rarity of all of its words."""
        words = _words(question)
        if self._index is None or not words:
            return 0.0
        # BM25 as bm25s computes it by default is a sum over words of rarity times at most 1.
        return sum(math.log(1 + (self._count - self._known(word) + 0.5) / (self._known(word) + 0.5)) for word in words)

    def _known(self, word: str) -> int:
        """Return how many texts hold a word."""
        return self._frequencies.get(word, 0)


def _words(text: str) -> list[str]:
    return [word for word in WORD.findall(text.casefold()) if not is_stop_word(word)]


def is_stop_word(word: str) -> bool:
    """Return whether a word, in small letters, says nothing on its own."""
    return word in _STOP
