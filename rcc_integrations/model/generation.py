"""Generation from prefixes: plain transformers generation, with stop strings, streaming and cancellation."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from rcc_integrations.errors import GenerationError
from rcc_integrations.model.cache import roomy_cache, uneven_layers
from rcc_integrations.model.evidence import Evidence, EvidenceProcessor
from rcc_integrations.model.family import Family
from rcc_integrations.model.grammar import Grammar
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.model.prefix import Prefix, stack_prefixes
from rcc_integrations.model.text import Detokenizer, TextCutter

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Generation:
    """What was generated for one question.

    Args:
        text: The answer.
        ids: All tokens that were generated, the end token and what was cut off behind a stop string included.
        finish_reason: `stop` (end token or stop string), `length` or `cancelled`.
        evidence: How sure the decoder was of it.
    """

    text: str
    ids: tuple[int, ...]
    finish_reason: FinishReason
    evidence: Evidence


class _Row:
    def __init__(
        self,
        tokenizer: Any,
        options: GenerationOptions,
        marker: str | None,
        stop: Sequence[str],
        grammar: Grammar | None = None,
    ) -> None:
        self._detokenizer = Detokenizer(tokenizer)
        self._cutter = TextCutter([*options.stop, *stop], marker)
        # What a grammar holds is not cut, or it would be no whole object; which kind it is shows in its first letter.
        self._uncut = TextCutter([], marker)
        self._grammar, self._open = grammar, True
        self._pieces: list[str] = []
        self.ids: list[int] = []
        self.reason: FinishReason | None = None

    def take(self, token: int, ends: Sequence[int]) -> str:
        self.ids.append(token)
        if token in ends:
            return self.end("stop")
        piece = self._feed(self._detokenizer.feed(token))
        self._pieces.append(piece)
        if self._cutter.stopped:
            self.reason = "stop"
        return piece

    def end(self, reason: FinishReason) -> str:
        if self.reason is not None:
            return ""
        self.reason = reason
        piece = self._feed(self._detokenizer.finish()) + self._cutter.finish()
        self._pieces.append(piece)
        return piece

    def _feed(self, text: str) -> str:
        if self._open and text.strip():
            self._open = False
            if self._grammar is not None and self._grammar.is_held(text):
                self._cutter = self._uncut
        return self._cutter.feed(text)

    def result(self, evidence: Evidence) -> Generation:
        return Generation("".join(self._pieces), tuple(self.ids), self.reason or "length", evidence)


class _Watch(StoppingCriteria):
    """Sees every new token: ends rows, hands on text as it becomes certain, and obeys cancellation."""

    def __init__(self, rows: list[_Row], ends: Sequence[int], emit: Callable[[int, str], None] | None,
                 cancel: Sequence[threading.Event], evidence: EvidenceProcessor) -> None:  # fmt: skip
        self._rows, self._ends, self._emit, self._cancel, self._evidence = rows, ends, emit, cancel, evidence

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:
        self._evidence.chosen(input_ids[:, -1])
        newest = input_ids[:, -1].tolist()
        for number, (row, token) in enumerate(zip(self._rows, newest, strict=True)):
            if row.reason is None:
                self._say(number, row.take(token, self._ends))
                if self._cancel and self._cancel[number].is_set():
                    self._say(number, row.end("cancelled"))
        return torch.tensor([row.reason is not None for row in self._rows], device=input_ids.device)

    def finish(self) -> list[Generation]:
        for number, row in enumerate(self._rows):
            self._say(number, row.end("length"))
        return [row.result(self._evidence.of(number, len(row.ids))) for number, row in enumerate(self._rows)]

    def _say(self, number: int, piece: str) -> None:
        if piece and self._emit is not None:
            self._emit(number, piece)


class _Finite(LogitsProcessor):
    """Ends an answer that has become arbitrary: weights or memories too large for the number format."""

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if not (scores < float("inf")).all():
            raise GenerationError(
                "The decoder computes NaN or infinity: its weights, or the memories, are damaged or too large for "
                f"{scores.dtype}. Check the store with `rcc verify`, or load the model in a wider type."
            )
        return scores


def generate(
    decoder: PreTrainedModel,
    tokenizer: Any,
    prefixes: Sequence[Prefix],
    questions: Sequence[Sequence[int]],
    options: GenerationOptions,
    *,
    end_ids: Sequence[int],
    stop: Sequence[str] = (),
    marker: str | None = None,
    emit: Callable[[int, str], None] | None = None,
    cancel: Sequence[threading.Event] | None = None,
    declining: int = 0,
    processors: Sequence[LogitsProcessor] = (),
    grammars: Sequence[Grammar | None] = (),
) -> list[Generation]:
    """Answer a batch of questions, each after its own prefix.

    Args:
        decoder: The causal LM.
        tokenizer: Its tokenizer.
        prefixes: One a question; they are not changed.
        questions: Token ids of each question, at least one token each.
        options: How to generate.
        end_ids: Tokens that end an answer.
        stop: Further stop strings, the model's own.
        marker: If given, an answer begins behind it.
        emit: Called with (row, piece) whenever text of a row is certain.
        cancel: An event a row; the row ends soon after it is set.
        declining: First token of the answer that declines to answer.
        processors: What may change the scores of tokens.
        grammars: What each answer is held to, which says where stop strings may end it.

    Returns:
        One generation a question.

    Raises:
        GenerationError: The decoder computes NaN or infinity.
    """
    stacked = stack_prefixes(prefixes)
    used = stacked.used
    device, longest = decoder.device, max(len(question) for question in questions)
    pad = end_ids[0] if end_ids else 0
    ids = torch.full((len(questions), longest), pad, dtype=torch.int64)
    mask, positions = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, question in enumerate(questions):
        start = longest - len(question)
        ids[row, start:] = torch.tensor(question)
        mask[row, start:] = 1
        positions[row, start:] = torch.arange(len(question)) + stacked.lengths[row]
    # transformers wants ids for the cached positions too; it cuts them off before the first pass.
    ids = torch.cat([torch.full_like(used, pad), ids], dim=1).to(device)
    mask = torch.cat([used, mask], dim=1).to(device)
    positions = torch.cat([torch.zeros_like(used), positions], dim=1).to(device)
    held = [*grammars, *[None] * (len(questions) - len(grammars))]
    rows = [_Row(tokenizer, options, marker, stop, grammar) for grammar in held]
    evidence = EvidenceProcessor(declining)
    watch = _Watch(rows, end_ids, emit, cancel or (), evidence)
    room = longest + options.max_new_tokens
    keys, values = ([each.to(decoder.dtype) for each in both] for both in (stacked.keys, stacked.values))
    sampled = options.temperature > 0
    settings = GenerationConfig(
        max_new_tokens=options.max_new_tokens,
        min_new_tokens=options.min_new_tokens or None,
        do_sample=sampled,
        temperature=options.temperature if sampled else None,
        top_p=options.top_p if sampled else None,
        top_k=options.top_k if sampled else None,
        repetition_penalty=options.repetition_penalty,
        eos_token_id=list(end_ids) or None,
        pad_token_id=pad,
        use_cache=True,
    )
    devices = [device] if device.type == "cuda" else []
    lent = stacked.room.borrowed(used.shape[1] + room, decoder.dtype) if stacked.room else nullcontext(False)
    with lent as got, torch.random.fork_rng(devices, enabled=sampled and options.seed is not None):
        within = stacked.places if got else None
        cache = roomy_cache(keys, values, room, within) if used.shape[1] else None
        if sampled and options.seed is not None:
            torch.manual_seed(options.seed)
        write: Any = decoder.generate
        with uneven_layers(Family.of(decoder).layers, stacked.layers, stacked.extra):
            write(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                generation_config=settings,
                stopping_criteria=StoppingCriteriaList([watch]),
                logits_processor=LogitsProcessorList([_Finite(), evidence, *processors]),
            )
    return watch.finish()
