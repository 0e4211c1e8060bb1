"""How an answer is judged: exact match, token F1 and contains, each the best over the accepted answers.

Texts are normalised as in SQuAD: lower-case, no ASCII punctuation, no articles, single spaces.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """Return a text in lower case, without ASCII punctuation and articles, its words parted by single spaces."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def exact_match(prediction: str, answer: str) -> float:
    """Return 1 if the normalised texts are equal, else 0."""
    return float(normalise(prediction) == normalise(answer))


def token_f1(prediction: str, answer: str) -> float:
    """Return the harmonic mean of token precision and recall, tokens counted as often as they occur.

    A text that is empty once normalised agrees with another such text alone.
    """
    said, wanted = normalise(prediction).split(), normalise(answer).split()
    if not said or not wanted:
        return float(said == wanted)
    shared = (Counter(said) & Counter(wanted)).total()
    return 2 * shared / (len(said) + len(wanted))


def contains(prediction: str, answer: str) -> float:
    """Return 1 if the normalised answer occurs in the normalised prediction as a run of whole tokens, else 0.

    An answer that is empty once normalised is contained in an empty prediction alone.
    """
    said, wanted = normalise(prediction), normalise(answer)
    return float(f" {wanted} " in f" {said} ") if wanted else float(not said)


def best(metric: Callable[[str, str], float], prediction: str, answers: Iterable[str]) -> float:
    """Return the best value of a metric over the accepted answers.

    Args:
        metric: `exact_match`, `token_f1` or `contains`.
        prediction: What was generated.
        answers: Accepted answers, at least one.
    """
    return max(metric(prediction, answer) for answer in answers)
