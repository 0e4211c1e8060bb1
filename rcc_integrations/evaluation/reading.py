"""What precedes a question under each condition: memories of several kinds, or uncompressed text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rcc_integrations.errors import DataError
from rcc_integrations.evaluation.material import Material, read_clear
from rcc_integrations.memory.quantization import decode, encode
from rcc_integrations.model.grammar import Grammar
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.reader.grounding import grounded_grammar
from rcc_integrations.routing.passage import Passage
from rcc_integrations.routing.word_router import WordRouter


@dataclass(frozen=True, eq=False)
class Reading:
    """What a question is asked over.

    Args:
        prefix: The decoder's prefix.
        windows: Windows in memory; 0 for uncompressed text.
        grammar: What the answer is held to; `None` for nothing.
        clear: Token ids of windows that are read as uncompressed text, between prefix and question.
        rank: Where windows were found in a collection, the rank of the first that holds the answer, from 1.
    """

    prefix: Prefix
    windows: int = 0
    grammar: Grammar | None = None
    clear: tuple[int, ...] = ()
    rank: int | None = None


def memory(material: Material, number: int, *, ratio: int, int8: bool = False) -> list[Reading]:
    """Read a document's own memories.

    Args:
        material: Model and documents.
        number: The document.
        ratio: Compression ratio.
        int8: Store them as int8 and take them back, as the store does.
    """
    memories = material.memories(number, ratio)
    if int8:
        dtype = material.model.decoder.dtype
        memories = [decode(encode(each, "int8"), dtype) for each in memories]
    return _alike(material, number, memories, ratio)


def grounded(material: Material, number: int, *, ratio: int) -> list[Reading]:
    """Read a document's own memories; answers are held to words of the document."""
    sample = material.samples[number]
    grammar = grounded_grammar([Passage(sample.id, 0, sample.text)])
    return [replace(each, grammar=grammar) for each in memory(material, number, ratio=ratio)]


def expanded(material: Material, number: int, *, ratio: int, most: int, held: bool = False) -> list[Reading]:
    """Read a document's memories, except for the windows that match a question best, which are read as text.

    Args:
        material: Model and documents.
        number: The document.
        ratio: Compression ratio.
        most: How many windows are read as uncompressed text.
        held: Hold answers to words of the document.
    """
    sample, memories = material.samples[number], material.memories(number, ratio)
    texts = [sample.text[window.start : window.end] for window in material.windows(number)]
    router = WordRouter(texts)
    grammar = grounded_grammar([Passage(sample.id, 0, sample.text)]) if held else None
    found = []
    for question in sample.questions:
        best = set(np.argsort(-router.scores(question.q), kind="stable")[:most].tolist())
        rest = [memory for each, memory in enumerate(memories) if each not in best]
        clear = [token for each in sorted(best) for token in material.model.token_ids(texts[each])]
        found.append(Reading(material.model.prefix(rest, ratio=ratio), len(rest), grammar, tuple(clear)))
    return found


def beside_others(material: Material, number: int, *, ratio: int, windows: int) -> list[Reading]:
    """Read a document's memories among those of other documents, in a chance order of documents.

    The windows of others are taken until there are `windows` in all, of the last one only the first few. A document
    with as many of its own is left as it is.

    Args:
        material: Model and documents.
        number: The document.
        ratio: Compression ratio.
        windows: Windows in memory.
    """
    groups = [material.memories(number, ratio)]
    room = windows - len(groups[0])
    for other in material.others(number):
        if room <= 0:
            break
        groups.append(material.memories(other, ratio)[:room])
        room -= len(groups[-1])
    mixed = material.chance(number, windows).sample(groups, len(groups))
    return _alike(material, number, [each for group in mixed for each in group], ratio)


def shuffled(material: Material, number: int, *, ratio: int) -> list[Reading]:
    """Read the memories of another document of the same set, the one nearest in size.

    Raises:
        DataError: If the set has no other document.
    """
    others = material.others(number)
    if not others:
        raise DataError(f"The set {material.samples[number].task!r} has no other document to take a memory from.")
    size = material.slots(number, ratio)
    nearest = min(others, key=lambda other: abs(material.slots(other, ratio) - size))
    return _alike(material, number, material.memories(nearest, ratio), ratio)


def full_text(material: Material, number: int, *, by_base: bool = False) -> list[Reading]:
    """Read the whole uncompressed text, with the model's decoder or with its untouched base."""
    model = material.base if by_base else material.model
    return _clear(material, number, material.tokens(number), model)


def cut_text(material: Material, number: int, *, ratio: int) -> list[Reading]:
    """Read the beginning of the uncompressed text: as many tokens as the document has slots."""
    return _clear(material, number, material.tokens(number)[: material.slots(number, ratio)], material.model)


def no_text(material: Material, number: int) -> list[Reading]:
    """Read nothing."""
    return _clear(material, number, [], material.model)


def _alike(material: Material, number: int, memories: Sequence[Memory], ratio: int) -> list[Reading]:
    reading = Reading(material.model.prefix(memories, ratio=ratio), len(memories))
    return [reading] * len(material.samples[number].questions)


def _clear(material: Material, number: int, tokens: Sequence[int], model: RCCModel) -> list[Reading]:
    return [Reading(read_clear(model, tokens))] * len(material.samples[number].questions)
