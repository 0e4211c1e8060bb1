"""Grammars: output that is constrained to a JSON schema, a regular expression or a choice (llguidance)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from cachetools import LRUCache
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from torch import Tensor
from transformers import LogitsProcessor

from rcc_integrations.config import MOST_SPANS, SEPARATORS
from rcc_integrations.errors import ConfigError, GenerationError
from rcc_integrations.model.schema import held_schema

#: How tokenizers mark a space in front of a word.
_SPACES = " \u0120\u2581"

#: Grammars that are held ready; one of a few thousand words takes tens of milliseconds to build.
_HELD = 16


@dataclass(frozen=True)
class Grammar:
    """A constraint on an answer, enforced while it is generated.

    Args:
        source: The grammar in llguidance's own form.
        either_case: Whether a word may change the case of its first letter where the grammar allows only the other
            case.
        cut: Where stop strings may end an answer: `never`, `anywhere`, or in `words`, which are answers that do not
            begin with a character of `opening`.
        opening: Characters that answers begin with which are not words.
    """

    source: str
    either_case: bool = False
    cut: Literal["never", "words", "anywhere"] = "never"
    opening: str = ""

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any]) -> Grammar:
        """Hold an answer to a JSON schema, written without needless white space and with an end in sight.

        Args:
            schema: The schema. What it leaves open is bounded, see `model.schema.held_schema`; `uniqueItems` cannot be
                held, `model.schema.without_repeats` sees to it afterwards.

        Raises:
            ConfigError: The schema uses a feature that cannot be enforced; the message names it.
        """
        held = json.dumps(held_schema(schema).schema)
        return cls(
            _checked(
                LLMatcher.grammar_from_json_schema(held, defaults={"whitespace_flexible": False}),
                f"The JSON schema {json.dumps(schema)[:200]}",
            )
        )

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """Constrain an answer to a regular expression.

        Raises:
            ConfigError: The expression is invalid.
        """
        return cls(_checked(LLMatcher.grammar_from_regex(pattern), f"The regular expression {pattern!r}"))

    @classmethod
    def lark(cls, text: str, *, words: bool = False, opening: str = "") -> Grammar:
        """Constrain an answer to a grammar in llguidance's dialect of Lark.

        Args:
            text: The grammar.
            words: Whether an answer that does not begin with a character of `opening` is free text, which stop strings
                may end.
            opening: Those characters.

        Raises:
            ConfigError: The grammar is invalid.
        """
        source = _checked(LLMatcher.grammar_from_lark(text), "The grammar")
        return cls(source, cut="words" if words else "never", opening=opening)

    def is_held(self, text: str) -> bool:
        """Return whether an answer that begins so is held to its end, with nothing cut off."""
        return self.cut == "never" or (self.cut == "words" and text.lstrip()[:1] in tuple(self.opening))

    @classmethod
    def verbatim(cls, texts: Sequence[str], instead: str) -> Grammar:
        """Constrain an answer to whole words of one of several texts, a list of such spans, or an alternative.

        Each text becomes an automaton of all its word substrings (llguidance's `substring_words`), so a step costs
        about the same for a sentence as for a book. Building it takes time proportional to the length of the texts, and
        is done when the grammar is first used.

        Args:
            texts: The texts, none empty.
            instead: The fixed alternative.
        """
        words = [f"S{number}: %regex {json.dumps({'substring_words': text})}" for number, text in enumerate(texts)]
        between = " | ".join(json.dumps(each) for each in SEPARATORS)
        lark = "\n".join([
            "start: ANSWER",
            f"ANSWER: (LIST | {json.dumps(instead)}) & /(.|\\n)*\\S/",
            f"LIST: SPAN (({between}) SPAN){{0,{MOST_SPANS - 1}}}",
            f"SPAN: {' | '.join(f'S{number}' for number in range(len(texts)))}",
            *words,
        ])  # fmt: skip
        return cls(LLMatcher.grammar_from_lark(lark), either_case=True, cut="anywhere")

    @classmethod
    def choice(cls, choices: Sequence[str]) -> Grammar:
        """Constrain an answer to one of several texts.

        Raises:
            ConfigError: There are none, or one is empty.
        """
        if not choices or not all(choices):
            raise ConfigError(f"A choice needs non-empty texts; it is {list(choices)!r}.")
        return cls.regex("|".join(re.escape(choice) for choice in choices))


def _checked(source: str, what: str) -> str:
    fault = LLMatcher.validate_grammar(source)
    if fault:
        raise ConfigError(f"{what} cannot be enforced: {fault}")
    return source


class Guide:
    """A tokenizer prepared for grammars; making it takes about half a second for 50,000 tokens.

    Args:
        tokenizer: A fast tokenizer of transformers.
        vocabulary: Number of tokens that the decoder scores.
        end_ids: Tokens that end an answer.
    """

    def __init__(self, tokenizer: Any, vocabulary: int, end_ids: Sequence[int]) -> None:
        self.end_ids = list(end_ids)
        self._tokenizer, self._vocabulary = tokenizer, vocabulary
        self._guide: LLTokenizer = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(end_ids) or None)
        self._held: LRUCache[str, LLMatcher] = LRUCache(_HELD)

    def matcher(self, grammar: Grammar) -> LLMatcher:
        """Return a new matcher at a grammar's beginning.

        Raises:
            ConfigError: The grammar is invalid.
        """
        made = self._held.get(grammar.source)
        if made is None:
            made = LLMatcher(self._guide, grammar.source)
            if made.is_error():
                raise ConfigError(f"The grammar cannot be enforced: {made.get_error()}")
            self._held[grammar.source] = made
        return made.deep_copy()

    @cached_property
    def other_case(self) -> Tensor:
        """For every token the one that differs in the case of its first letter, or itself; shape (vocabulary,)."""
        known: dict[str, int] = self._tokenizer.get_vocab()
        found = torch.arange(self._vocabulary)
        for token, number in known.items():
            at = next((place for place, letter in enumerate(token) if letter not in _SPACES), 0)
            other = known.get(token[:at] + token[at : at + 1].swapcase() + token[at + 1 :])
            if other is not None and max(number, other) < self._vocabulary:
                found[number] = other
        return found


class GrammarProcessor(LogitsProcessor):
    """Forbids, row by row, every token that its grammar does not allow next.

    Args:
        guide: The prepared tokenizer.
        grammars: One a row; `None` leaves a row free.
    """

    def __init__(self, guide: Guide, grammars: Sequence[Grammar | None]) -> None:
        self._guide, self._grammars = guide, grammars
        self._matchers = [guide.matcher(grammar) if grammar else None for grammar in grammars]
        self._begun = False

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores with what is forbidden at minus infinity, shape (rows, vocabulary)."""
        newest = input_ids[:, -1].tolist()
        for row, (grammar, matcher) in enumerate(zip(self._grammars, self._matchers, strict=True)):
            if grammar is None or matcher is None:
                continue
            if self._begun and not matcher.is_stopped():
                matcher.consume_token(newest[row])
            if matcher.is_error():
                raise GenerationError(f"The grammar came to an end that it does not allow: {matcher.get_error()}")
            allowed = self._allowed(matcher, scores.shape[1]).to(scores.device)
            if grammar.either_case:
                other = self._guide.other_case.to(scores.device)
                lent = scores[row].masked_fill(allowed, float("-inf"))[other]
                scores[row] = torch.maximum(scores[row], lent)
            scores[row].masked_fill_(~allowed, float("-inf"))
            if bool(scores[row].isneginf().all()):
                # Other rules, such as a least length, forbid what is left: the grammar goes first.
                scores[row].masked_fill_(allowed, 0.0)
        self._begun = True
        return scores

    def _allowed(self, matcher: LLMatcher, size: int) -> Tensor:
        allowed = torch.zeros(size, dtype=torch.bool)
        if matcher.is_stopped():
            allowed[self._guide.end_ids] = True
        else:
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
            known = min(len(bits), size)
            allowed[:known] = torch.from_numpy(bits[:known]).bool()
        return allowed
