"""`Condition`: one way to put a document before a question, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rcc_integrations.errors import ConfigError, suggest
from rcc_integrations.evaluation import reading
from rcc_integrations.evaluation.collection import RANKERS, Ranker, among_all
from rcc_integrations.evaluation.embedder import INSTALL, PACKAGE, installed
from rcc_integrations.evaluation.material import Material
from rcc_integrations.evaluation.reading import Reading
from rcc_integrations.evaluation.retrieval import RANKINGS, retrieved
from rcc_integrations.model.rcc_model import RCCModel

#: Families of conditions, and what they are.
FAMILIES = {
    "memory": "memory of the document, one condition a ratio",
    "grounded": "memory, answers held to words of the document, one condition a ratio",
    "expand": "memory at the main ratio with the best one or two windows as text, without and with grounding",
    "int8": "memory at the main ratio after its round trip through int8",
    "windows": "memory at the main ratio among windows of other documents, 4, 8 and 16 in all",
    "collection": "memory at the main ratio, all documents of a set in one collection, windows found in several ways",
    "full": "uncompressed full text, read by the model's decoder",
    "base": "uncompressed full text, read by the untouched base in its chat template",
    "none": "no text",
    "cut": "the beginning of the text, in as many positions as the memory takes",
    "bm25": "windows that BM25 ranks best, as text in equal positions",
    "vector": "windows that vectors rank best, as text in equal positions",
    "bm25-short": "the same by BM25 with pieces of a sentence or two",
    "vector-short": "the same by vectors with pieces of a sentence or two",
    "shuffled": "memory of another document",
}

#: Windows in memory of a collection, where the model does not say.
_WINDOWS = 3
#: Windows in memory, beside the document's own only.
MANY = (4, 8, 16)


@dataclass(frozen=True)
class Condition:
    """One way to put a document before a question.

    Args:
        name: Short name, such as `memory-r4`.
        family: One of `FAMILIES`.
        label: Name in tables.
        read: Returns a reading for each question of a document, given the material and the document's number.
        ratio: Compression ratio of the memory, or the one whose number of positions is used; `None` if there is none.
        windows: Number of windows in memory, if it is fixed.
        by_base: Whether the untouched base model answers instead of the model.
        ranker: How windows are found in the collection of all documents.
    """

    name: str
    family: str
    label: str
    read: Callable[[Material, int], list[Reading]]
    ratio: int | None = None
    windows: int | None = None
    by_base: bool = False
    ranker: Ranker | None = None

    def missing(self) -> str | None:
        """Return why this condition cannot be run on this machine, or `None`."""
        if (self.family.startswith("vector") or self.ranker in ("vector", "fused")) and installed() is None:
            return f"{PACKAGE} is not installed: {INSTALL}"
        return None


def main_ratio(model: RCCModel, ratios: Sequence[int] = ()) -> int:
    """Return the ratio of the conditions that have only one: the model's own, or the first given if it is not there."""
    return model.config.ratio if not ratios or model.config.ratio in ratios else ratios[0]


def conditions_for(model: RCCModel, ratios: Sequence[int] = (), families: Sequence[str] = ()) -> list[Condition]:
    """Return conditions for a model.

    Args:
        model: The model.
        ratios: Ratios of memory; by default those that the model was trained for, and 1 if it is exact.
        families: Which of `FAMILIES`; all if none is given.

    Raises:
        ConfigError: A ratio cannot be used, or a family does not exist.
    """
    if unknown := [family for family in families if family not in FAMILIES]:
        raise ConfigError(f"There is no condition {unknown[0]!r}.{suggest(unknown[0], list(FAMILIES), 'conditions')}")
    exact = {1} if model.config.injection == "kv" else set()
    ratios = list(ratios) or sorted(exact | {model.config.ratio} | set(model.config.ratios))
    for ratio in ratios:
        model.check_ratio(ratio, untrained=True)
    made = _all(model, list(dict.fromkeys(ratios)), main_ratio(model, ratios))
    return [condition for condition in made if not families or condition.family in families]


def _all(model: RCCModel, ratios: Sequence[int], main: int) -> list[Condition]:
    found = []
    for ratio in ratios:
        exact = ratio == 1 and model.config.injection == "kv"
        note = "" if exact or ratio in model.config.ratios else ", not trained"
        label = f"memory, ratio {ratio}{note}"
        found.append(Condition(f"memory-r{ratio}", "memory", label, partial(reading.memory, ratio=ratio), ratio))
    for ratio in ratios:
        verbatim = partial(reading.grounded, ratio=ratio)
        found.append(Condition(f"grounded-r{ratio}", "grounded", f"memory, ratio {ratio}, grounded", verbatim, ratio))
    for most, held in ((1, False), (2, False), (1, True)):
        name = f"{'grounded-' if held else ''}expand-{most}-r{main}"
        label = f"memory, ratio {main}, {most} in clear{', grounded' if held else ''}"
        clear = partial(reading.expanded, ratio=main, most=most, held=held)
        found.append(Condition(name, "expand", label, clear, main))
    whole = partial(reading.memory, ratio=main, int8=True)
    found.append(Condition(f"int8-r{main}", "int8", f"memory, ratio {main}, stored as int8", whole, main))
    for windows in MANY:
        among = partial(reading.beside_others, ratio=main, windows=windows)
        label = f"memory, ratio {main}, {windows} windows in all"
        found.append(Condition(f"windows-{windows}-r{main}", "windows", label, among, main, windows))
    for ranker, title in RANKERS.items():
        count = 1 if ranker == "right" else model.config.max_windows or _WINDOWS
        found_by = partial(among_all, ratio=main, ranker=ranker, windows=count)
        label = f"collection, ratio {main}, {title}, {count} in memory"
        name = f"collection-{ranker}-{count}-r{main}"
        if ranker not in ("memory", "both") or model.routing_head(main) is not None:
            found.append(Condition(name, "collection", label, found_by, main, count, ranker=ranker))
    base = partial(reading.full_text, by_base=True)
    found += [
        Condition("full", "full", "full text, same decoder", reading.full_text),
        Condition("base", "base", "full text, untouched base", base, by_base=True),
        Condition("none", "none", "no text", reading.no_text),
        Condition(f"cut-r{main}", "cut", "text cut to equal positions", partial(reading.cut_text, ratio=main), main),
    ]
    for short in (False, True):
        for ranking, title in RANKINGS.items():
            family = f"{ranking}{'-short' if short else ''}"
            label = f"best {'sentences' if short else 'windows'} by {title}, equal positions"
            read = partial(retrieved, ratio=main, ranking=ranking, short=short)
            found.append(Condition(f"{family}-r{main}", family, label, read, main))
    other = partial(reading.shuffled, ratio=main)
    found.append(Condition(f"shuffled-r{main}", "shuffled", "memory of another document", other, main))
    return found
