"""Tasks over texts that people wrote: repetition from a cue, continuation, gaps, unfinished sentences, descriptions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

from rcc_integrations.errors import DataError
from rcc_integrations.training.data.sample import Question, Sample
from rcc_integrations.training.data.sources import Passage

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'(])")
_YEAR = re.compile(r"\b(1[0-9]{3}|20[0-2][0-9])\b")
_DATE = re.compile(r"\b(?:\d{1,2} )?(?:January|February|March|April|May|June|July|August|September|October|November|"
                   r"December)(?: \d{1,2},)? \d{4}\b")  # fmt: skip
_NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b")
_NAME = re.compile(r"\b[A-Z][a-z]+(?: (?:of |de |van |the )?[A-Z][a-z]+)+\b|(?<=[a-z,] )[A-Z][a-z]{2,}\b")
_IS = re.compile(r"^(?P<who>.{2,80}?) (?P<verb>is|was|are|were) (?P<what>(?:an?|the|one of) [^.;]{8,160})")
_BORN = re.compile(r"\(born (?:[^()]*? )??(?P<when>(?:[A-Z][a-z]+ \d{1,2}, |\d{1,2} [A-Z][a-z]+ )\d{4})")

_REPEAT = (
    'Repeat the text that begins with "{}".',
    'Write out the passage that starts "{}".',
    'What comes after "{}" in the text?',
    'Quote the text from "{}" on.',
)
_CONTINUE = ("Continue the text.", "How could the text go on?", "Write what comes next.", "Go on with the text.")
_GAP = (
    'Fill the gap: "{}"',
    'Which words are missing here: "{}"',
    'Complete, using the text: "{}"',
    'What belongs in the blank? "{}"',
)
_FINISH = ('Finish the sentence: "{}"', 'How does this sentence end: "{}"', 'Complete the sentence "{}"')
_WHAT = {
    "is": ("What is {}?", "Describe {} in a few words.", "Who or what is {}?"),
    "was": ("What was {}?", "Who or what was {}?", "Describe {} briefly."),
    "are": ("What are {}?", "Describe {} in a few words."),
    "were": ("What were {}?", "Describe {} briefly."),
}
#: Tokens of a long target, in characters: what a window holds is asked for in parts.
_LONG = 220


class RealText:
    """Makes samples from passages.

    Args:
        passages: Texts with titles, of a dozen words or more each.

    Raises:
        DataError: If there are none.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        if not passages:
            raise DataError("There are no texts to make tasks from: give a folder or file with longer texts.")
        self._passages = passages

    def questions(self, rng: Random, most: int = 7) -> Sample:
        """Ask several things about one passage, each answered by words that stand in it."""
        makers: tuple[Callable[[Passage, list[str], Random], Question | None], ...] = (
            _what, _born, _gap, _gap, _finish, _asked, _asked, _asked
        )  # fmt: skip
        best = Sample("", ())
        for attempt in range(200):
            passage = rng.choice(self._passages)
            sentences = [item for item in _SENTENCE.split(passage.text) if len(item) < 400]
            made = [maker(passage, sentences, rng) for maker in rng.sample(makers, len(makers))] if sentences else []
            found = {question.q: question for question in made if question is not None}
            if len(found) > len(best.questions):
                best = Sample(passage.text, tuple(found.values())[:most], "real", passage.title)
            # Most passages allow several questions; those of short texts may allow one.
            if len(best.questions) >= 2 or (best.questions and attempt >= 20):
                return best
        raise DataError(
            f"Nothing could be asked about any of {len(self._passages)} texts: they need sentences of seven words and "
            "more. Leave the task out (command line: without --share real), or give longer texts."
        )

    @property
    def askable(self) -> bool:
        """Whether `questions` finds something to ask."""
        try:
            return bool(self.questions(Random(0)).questions)
        except DataError:
            return False

    def repeat(self, rng: Random) -> Sample:
        """Ask for the words that follow a cue."""
        passage = rng.choice(self._passages)
        words = [(found.start(), found.end()) for found in re.finditer(r"\S+", passage.text)]
        asked: dict[str, Question] = {}
        for _ in range(rng.randint(2, 3)):
            # At least one word is left behind the cue.
            first = rng.randrange(max(1, len(words) - 20))
            last = min(first + rng.randint(4, 7), len(words) - 1) - 1
            cue = passage.text[words[first][0] : words[last][1]]
            if passage.text.count(cue) > 1 and asked:
                continue
            target = _cut(passage.text[words[last][1] :].strip(), _LONG)
            form = rng.choice(_REPEAT).format(cue)
            asked[form] = Question(form, (target,), "repeat")
        return Sample(passage.text, tuple(asked.values()), "repeat", passage.title)

    def continuation(self, rng: Random) -> Sample:
        """Ask for what follows a passage's beginning."""
        passage = rng.choice(self._passages)
        at = passage.text.find(" ", rng.randrange(len(passage.text) // 3, len(passage.text) * 2 // 3))
        if at < 0:
            at = len(passage.text) // 2
        target = _cut(passage.text[at:].strip() or passage.text[:20], _LONG)
        return Sample(passage.text[:at], (Question(rng.choice(_CONTINUE), (target,), "continue"),), "continue",
                      passage.title)  # fmt: skip


def _what(passage: Passage, sentences: list[str], rng: Random) -> Question | None:
    found = _IS.match(re.sub(r"\s*\([^()]*\)", "", sentences[0]))
    if not found or len(found["who"].split()) > 8:
        return None
    what = re.split(r",| (?:who|which|that|and) ", found["what"])[0].strip()
    # The title of an article stands in its first sentence; the name of a file does not.
    titled = found["verb"] in ("is", "was") and passage.title in sentences[0]
    who = passage.title if titled and rng.random() < 0.5 else found["who"]
    if what not in passage.text:
        return None
    return Question(rng.choice(_WHAT[found["verb"]]).format(who), (what,), "what")


def _born(passage: Passage, sentences: list[str], rng: Random) -> Question | None:
    found = _BORN.search(sentences[0])
    if not found or passage.title not in sentences[0]:
        return None
    form = rng.choice(("When was {} born?", "What is the birth date of {}?", "On which day was {} born?"))
    return Question(form.format(passage.title), (found["when"],), "date")


def _gap(_: Passage, sentences: list[str], rng: Random) -> Question | None:
    sentence = rng.choice(sentences)
    spans = [found.span() for pattern in (_DATE, _YEAR, _NUMBER, _NAME) for found in pattern.finditer(sentence)]
    words = [found.span() for found in re.finditer(r"[A-Za-z][\w'-]+", sentence)]
    if len(words) < 7:
        return None
    if not spans or rng.random() < 0.3:
        first = rng.randrange(1, len(words) - 1)
        spans = [(words[first][0], words[min(first + rng.randint(0, 2), len(words) - 1)][1])]
    start, end = rng.choice(spans)
    left, right = sentence[:start], sentence[end:]
    if sentence.count(sentence[start:end]) > 1 or not (left.strip() or right.strip()):
        return None
    shown = f"{_tail(left, 90)}___{_head(right, 90)}"
    return Question(rng.choice(_GAP).format(shown), (sentence[start:end],), "gap")


def _finish(_: Passage, sentences: list[str], rng: Random) -> Question | None:
    sentence = rng.choice(sentences)
    words = list(re.finditer(r"\S+", sentence))
    if len(words) < 9:
        return None
    at = words[rng.randrange(len(words) // 3 + 2, len(words) - 2)].start()
    form = rng.choice(_FINISH).format(_tail(sentence[:at].strip(), 120))
    return Question(form, (_cut(sentence[at:], 140),), "finish")


def _asked(passage: Passage, sentences: list[str], rng: Random) -> Question | None:
    """Turn a statement into a question by putting a question word where a date, number or name stands."""
    sentence = re.sub(r"\s*\([^()]*\)", "", rng.choice(sentences)).strip()
    choices = [
        (_DATE, ("on what date", "when"), "date"),
        (_YEAR, ("what year", "which year"), "date"),
        (_NUMBER, ("how many", "what number of"), "number"),
        (_NAME, ("who or what", "what name"), "name"),
    ]
    rng.shuffle(choices)
    for pattern, asking, kind in choices:
        places = list(pattern.finditer(sentence))
        found = rng.choice(places) if places else None
        if found is None or sentence.count(found[0]) > 1 or found[0] not in passage.text:
            continue
        if kind == "number" and _YEAR.fullmatch(found[0]):
            continue
        left, right = sentence[: found.start()], sentence[found.end() :].rstrip(".")
        question = f"{_tail(left, 90)}{rng.choice(asking)}{_head(right, 70)}?"
        return Question(question[:1].upper() + question[1:], (found[0],), kind)
    return None


def _cut(text: str, most: int) -> str:
    """Return the beginning of a text, whole words only."""
    return text if len(text) <= most else text[:most].rsplit(maxsplit=1)[0] if " " in text[:most] else text[:most]


def _head(text: str, most: int) -> str:
    return text if len(text) <= most else f"{_cut(text, most)} ..."


def _tail(text: str, most: int) -> str:
    return text if len(text) <= most else f"... {text[-most:].split(maxsplit=1)[-1]}"
