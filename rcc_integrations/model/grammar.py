"""Grammars: output held to a JSON schema, a regular expression or a choice while it is generated (llguidance)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from torch import Tensor
from transformers import LogitsProcessor

from rcc_integrations.errors import ConfigError, GenerationError

#: Keywords of JSON schema that hold values, and those that hold schemas by name.
_DATA = {"enum", "const", "default", "examples", "required", "title", "description"}
_MAPS = {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"}


@dataclass(frozen=True)
class Grammar:
    """What an answer may look like.

    Args:
        source: The grammar in llguidance's own form.
    """

    source: str

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any]) -> Grammar:
        """Hold an answer to a JSON schema, written without needless white space.

        Args:
            schema: The schema.

        Raises:
            ConfigError: If it uses what cannot be enforced; the message says what.
        """
        return cls(
            _checked(
                LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults={"whitespace_flexible": False}),
                f"The JSON schema {json.dumps(schema)[:200]}",
            )
        )

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """Hold an answer to a regular expression.

        Raises:
            ConfigError: If the expression cannot be used.
        """
        return cls(_checked(LLMatcher.grammar_from_regex(pattern), f"The regular expression {pattern!r}"))

    @classmethod
    def lark(cls, text: str) -> Grammar:
        """Hold an answer to a grammar in llguidance's dialect of Lark.

        Raises:
            ConfigError: If the grammar cannot be used.
        """
        return cls(_checked(LLMatcher.grammar_from_lark(text), "The grammar"))

    @classmethod
    def choice(cls, choices: Sequence[str]) -> Grammar:
        """Hold an answer to one of several texts.

        Raises:
            ConfigError: If there is none, or one is empty.
        """
        if not choices or not all(choices):
            raise ConfigError(f"A choice needs non-empty texts; it is {list(choices)!r}.")
        return cls.regex("|".join(re.escape(choice) for choice in choices))


def _checked(source: str, what: str) -> str:
    fault = LLMatcher.validate_grammar(source)
    if fault:
        raise ConfigError(f"{what} cannot be enforced: {fault}")
    return source


class GrammarProcessor(LogitsProcessor):
    """Forbids, row by row, every token that its grammar does not allow next.

    Args:
        guide: As `guide_of` returns it.
        grammars: One a row; `None` leaves a row free.
        end_ids: Tokens that end an answer; one of them is forced where a grammar is at its end.
    """

    def __init__(self, guide: LLTokenizer, grammars: Sequence[Grammar | None], end_ids: Sequence[int]) -> None:
        self._matchers = [LLMatcher(guide, grammar.source) if grammar else None for grammar in grammars]
        self._end_ids = list(end_ids)
        self._begun = False

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores with what is forbidden at minus infinity, shape (rows, vocabulary)."""
        newest = input_ids[:, -1].tolist()
        for row, matcher in enumerate(self._matchers):
            if matcher is None:
                continue
            if self._begun and not matcher.is_stopped():
                matcher.consume_token(newest[row])
            if matcher.is_error():
                raise GenerationError(f"The grammar came to an end that it does not allow: {matcher.get_error()}")
            allowed = self._allowed(matcher, scores.shape[1]).to(scores.device)
            scores[row].masked_fill_(~allowed, float("-inf"))
            if bool(scores[row].isneginf().all()):
                # Other rules, such as a least length, forbid what is left: the grammar goes first.
                scores[row].masked_fill_(allowed, 0.0)
        self._begun = True
        return scores

    def _allowed(self, matcher: LLMatcher, size: int) -> Tensor:
        allowed = torch.zeros(size, dtype=torch.bool)
        if matcher.is_stopped():
            allowed[self._end_ids] = True
        else:
            bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
            known = min(len(bits), size)
            allowed[:known] = torch.from_numpy(bits[:known]).bool()
        return allowed


def guide_of(tokenizer: Any, vocabulary: int, end_ids: Sequence[int]) -> LLTokenizer:
    """Prepare a tokenizer for grammars; takes about half a second for 50,000 tokens.

    Args:
        tokenizer: A fast tokenizer of transformers.
        vocabulary: Number of tokens that the decoder scores.
        end_ids: Tokens that end an answer.
    """
    return from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=list(end_ids) or None)


def bounded(schema: Any, *, string: int = 200, items: int = 8) -> Any:
    """Return a JSON schema whose values cannot go on for ever, as a small model's sometimes would.

    Strings, arrays and free objects get a greatest length; objects with named properties get no others.

    Args:
        schema: The schema; what it bounds itself is left as it is.
        string: The most characters of a string.
        items: The most items of an array, or properties of a free object.
    """
    if isinstance(schema, list):
        return [bounded(each, string=string, items=items) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _DATA or key == "allOf":
            found[key] = value  # parts of one object must not shut one another out
        elif key in _MAPS and isinstance(value, dict):
            found[key] = {name: bounded(each, string=string, items=items) for name, each in value.items()}
        else:
            found[key] = bounded(value, string=string, items=items)
    if found.get("type") == "string" and not {"maxLength", "enum", "const", "pattern", "format"} & set(found):
        found["maxLength"] = max(string, found.get("minLength", 0))
    elif found.get("type") == "array":
        found.setdefault("maxItems", max(items, found.get("minItems", 0)))
    elif found.get("type") == "object" and not {"additionalProperties", "patternProperties", "allOf"} & set(found):
        if found.get("properties"):
            found["additionalProperties"] = False
        else:
            found.setdefault("maxProperties", max(items, found.get("minProperties", 0)))
    return found
