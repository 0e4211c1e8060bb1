"""`RCCModel`: an encoder that compresses windows, and a decoder that answers from their memories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from rcc_integrations.config import NOT_STATED, RCCConfig
from rcc_integrations.errors import BudgetError, ConfigError, EmptyDocumentError
from rcc_integrations.forking import ForkSafeLock
from rcc_integrations.model import checkpoint
from rcc_integrations.model.cache import attention_reach
from rcc_integrations.model.compressor import Compressor
from rcc_integrations.model.confidence import confidence
from rcc_integrations.model.family import Family
from rcc_integrations.model.fingerprint import fingerprint
from rcc_integrations.model.generation import Generation, generate
from rcc_integrations.model.grammar import Grammar, GrammarProcessor, Guide
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.memory_spec import MemorySpec
from rcc_integrations.model.options import GenerationOptions
from rcc_integrations.model.parts import Parts
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.prefix_builder import PrefixBuilder
from rcc_integrations.model.question_states import question_states
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.model.slots import SlotLayout
from rcc_integrations.model.tokens import Tokens
from rcc_integrations.model.windows import Window

#: Tokens of padded windows that go through the encoder in one batch.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 32768}


class RCCModel(nn.Module):
    """A language model with compressed memory (Recurrent Context Compression, arXiv 2406.06110).

    Use `default`, `from_pretrained`, `from_base` or `from_published` to get one. Calls from several threads are safe;
    they are serialised.

    Args:
        config: Settings.
        parts: Networks and tokenizer.
    """

    def __init__(self, config: RCCConfig, parts: Parts) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = parts.tokenizer
        self.decoder: PreTrainedModel = parts.decoder
        self.projections = parts.projections
        self.parts = parts
        self.reach = attention_reach(self.decoder.config)
        family = Family.of(self.decoder)
        self.spec = MemorySpec.of(config, len(family.layers), self.decoder.config)
        self.tokens = Tokens(parts.tokenizer, config, parts.vocabulary)
        #: Tokens of one batch of compression, if not as many as the device takes best. A question competes with,
        #: or waits for, the batch at work: who compresses beside questions sets fewer, at any time.
        self.batch_tokens: int | None = None
        self._lock = lock = ForkSafeLock(waits=True)
        self._encoder_lock = ForkSafeLock(waits=True)

        def encoder() -> nn.Module:
            with lock:
                return parts.encoder

        self._compressor = Compressor(encoder, family, parts.projections, self.spec, self.tokens)
        self._builder = PrefixBuilder(self.decoder, family, self.spec, self.tokens)
        self._text_prefix: Prefix | None = None
        self._weights: str | None = None
        self._checked = False
        if config.window > self.reach:
            raise ConfigError(f"window {config.window} is longer than the {self.reach} positions of {config.base!r}.")

    @classmethod
    def default(cls, **options: Any) -> RCCModel:
        """Load the default model, RCC-SmolLM2-135M.

        Args:
            **options: `device`, `dtype`, `attn`, `merge` as in `from_pretrained`.

        Raises:
            ModelNotFoundError: Its base weights are not on this machine; the message says how to get them.
        """
        return cls.from_pretrained(checkpoint.DEFAULT, **options)

    @classmethod
    def from_pretrained(cls, name: str | Path, **options: Any) -> RCCModel:
        """Load a saved model.

        Args:
            name: A folder written by `save_pretrained`, or the hub id of one.
            **options: `base` (folder or hub id of the base model, if it is not where the model says), `device`, `dtype`
                and `attn` (chosen automatically if not given), `merge` (merge adapters into copies of the weights,
                which is faster and takes more memory; decided by the free memory if not given).

        Raises:
            ModelNotFoundError: The folder, or the base model that it names, cannot be found.
            ModelError: Its parts do not fit together.
            ConfigError: Its settings are invalid.
        """
        return cls(*checkpoint.load(name, **options))

    @classmethod
    def from_base(cls, base: str | Path | PreTrainedModel, **options: Any) -> RCCModel:
        """Use any causal LM without an adapter; at ratio 1, its memories are exactly its key/value cache.

        Args:
            base: Hub id, folder, or a loaded model (then `tokenizer` is needed).
            **options: `tokenizer`; fields of `RCCConfig` such as `window` (default: the base model's positions, less
                space for a question) and `prefix_text`; `device`, `dtype`, `attn`.

        Raises:
            ModelNotFoundError: There is no such base model.
            ModelError: Its family is not supported.
        """
        return cls(*checkpoint.from_base(base, **options))

    @classmethod
    def from_published(cls, weights: str | Path, base: str | Path, **options: Any) -> RCCModel:
        """Load weights in the layout of the released RCC-Pythia-1.4b.

        Args:
            weights: A safetensors file, or a folder of them.
            base: Hub id or folder of the base model, for its config and tokenizer.
            **options: `tokenizer`, `ratio` (32), `window` (2048), `device`, `dtype`, `attn`.

        Raises:
            ModelError: Tensors are missing, superfluous, or have a wrong shape; the message names them.
        """
        from rcc_integrations.model.published import load_published

        return cls(*load_published(weights, base, **options))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model to a folder in safetensors and JSON; the base model only if it cannot be loaded by name."""
        checkpoint.save(Path(folder), self.config, self.parts)

    @property
    def encoder(self) -> nn.Module:
        """The network that reads windows, created lazily."""
        with self._lock:
            return self.parts.encoder

    @cached_property
    def _guide(self) -> Guide:
        vocabulary = int(self.decoder.get_output_embeddings().weight.shape[0])
        return Guide(self.tokenizer, vocabulary, self.parts.end_ids)

    @cached_property
    def _declining(self) -> int:
        return self.tokens.ids(NOT_STATED)[0]

    @property
    def levels(self) -> int:
        """Levels of a memory, one for each decoder layer."""
        return self.spec.levels

    @property
    def device(self) -> torch.device:
        """The decoder's device."""
        return self.decoder.device

    def layout(self, ratio: int) -> SlotLayout:
        """Return what a memory holds at a ratio that `check_ratio` returned."""
        return self.spec.layout(ratio)

    def memory_spec(self, ratio: int) -> dict[str, tuple[int, ...]]:
        """Return a memory's tensors by name, their shapes without the entries, which are the axis before the last."""
        return self.spec.shapes(ratio)

    def weights_id(self) -> str:
        """Return the hash over all weights; computed once."""
        with self._lock:
            if self._weights is None:
                self._weights = self.parts.digest()
            return self._weights

    def check_weights(self) -> None:
        """Compare the loaded weights with the digest that is known of them; done once.

        Raises:
            ModelError: They are damaged: memories made with them would be stored under the name of the sound model.
        """
        with self._lock:
            if not self._checked:
                self.parts.check_base()
                self._checked = True

    def fingerprint(self, ratio: int | None = None) -> str:
        """Return the fingerprint of the memories that this model makes at a ratio, 32 hex digits."""
        return fingerprint(self.config, self.weights_id(), self.layout(ratio or self.config.ratio))

    def describe(self, ratio: int | None = None) -> dict[str, Any]:
        """Return a description of the model, which a store keeps beside the fingerprint."""
        return {
            "base": self.config.base,
            "ratio": ratio or self.config.ratio,
            "window": self.config.window,
            "injection": self.config.injection,
            "placement": self.config.placement,
        }

    def check_ratio(self, ratio: int | None = None, *, untrained: bool = False) -> int:
        """Return the ratio to use.

        Args:
            ratio: The requested ratio; the model's default if not given.
            untrained: Allow a ratio that the adapters were not trained for.

        Raises:
            ConfigError: The ratio is invalid, or the model was not trained for it and `untrained` is false.
        """
        return self.spec.check_ratio(ratio, untrained=untrained)

    def cut(self, text: str) -> list[Window]:
        """Cut a document into windows; an empty list if it has no tokens."""
        return self.tokens.cut(text)

    def slots(self, tokens: int, ratio: int) -> int:
        """Return how many slots a window of so many tokens has."""
        return self.layout(ratio).slots(tokens)

    def compress(
        self, windows: Sequence[Sequence[int]], ratio: int | None = None, *, untrained: bool = False
    ) -> list[Memory]:
        """Compress windows into memories.

        Args:
            windows: Token ids of each window, at least one token each.
            ratio: Compression ratio; the model's default if not given.
            untrained: Allow a ratio for which the model has no trained adapter.

        Returns:
            One memory per window: `key` and `value` of shape (levels, kv_heads, entries, head_dim) for `kv`, or `state`
            of shape (levels, entries, hidden) for `residual`. Levels and entries are those of `layout(ratio)`.

        Raises:
            ConfigError: The ratio or the length of a window is invalid.
        """
        ratio = self.check_ratio(ratio, untrained=untrained)
        found: dict[int, Memory] = {}
        for numbers, memories in self.compress_batches(windows, ratio):
            found.update(zip(numbers, memories, strict=True))
        return [found[number] for number in range(len(windows))]

    def compress_batches(
        self, windows: Sequence[Sequence[int]], ratio: int
    ) -> Iterator[tuple[list[int], list[Memory]]]:
        """Compress windows batch by batch, with windows of similar length together.

        Args:
            windows: Token ids of each window.
            ratio: A ratio that `check_ratio` returned.

        Yields:
            The numbers of the windows in a batch, and their memories as in `compress`.

        Raises:
            ConfigError: A window is empty or too long.
        """
        for numbers in self._compressor.batches(windows, self.device, lambda: self.batch_tokens):
            chosen = [windows[number] for number in numbers]
            # Where the encoder has modules of its own, questions go on while it reads.
            reading = self._encoder_lock if self._encoder_is_apart else self._lock
            with torch.no_grad():
                with reading:
                    states, counts = self._compressor.encode(chosen, ratio)
                with self._lock:
                    memories = self._compressor.memories(states, counts, ratio)
            yield numbers, memories

    @cached_property
    def _encoder_is_apart(self) -> bool:
        """Whether encoder and decoder share no module, weights though they share: hooks are on modules."""
        others = {id(module) for model in (self.parts.base, self.decoder) for module in model.modules()}
        return not any(id(module) in others for module in self.encoder.modules())

    def compress_batch(self, windows: Sequence[Sequence[int]], ratio: int) -> list[Memory]:
        """Compress one batch of windows; differentiable unless called under `no_grad`. See `compress`."""
        return self._compressor.compress(windows, ratio)

    def inject(self, states: torch.Tensor, ratio: int) -> Memory:
        """Turn encoder states of shape (levels, batch, entries, hidden) into memories with the batch as first axis."""
        return self._compressor.inject(states, ratio)

    def routing_head(self, ratio: int) -> RoutingHead | None:
        """Return what finds windows by their memories at a ratio; `None` if the model has nothing that does."""
        return self.parts.routing_head(self.layout(ratio))

    def question_codes(self, question: str, head: RoutingHead) -> tuple[np.ndarray, np.ndarray]:
        """Return a question as it is compared with the codes of windows.

        The decoder reads the question without memory, as far as the highest layer that the routing head looks at.

        Args:
            question: The question; of a long one the end.
            head: A routing head of this model.

        Returns:
            Codes of shape (tokens, width) and weights of shape (tokens,), float32, as `QuestionCodes` has them.
        """
        with self._lock, torch.no_grad():
            (states,) = question_states(self.decoder, self.tokens, [question], head.question_levels)
            return head.asked(states)

    def text_prefix(self) -> Prefix:
        """Return the keys and values of the uncompressed text before every memory."""
        with self._lock, torch.no_grad():
            if self._text_prefix is None:
                if (length := len(self.tokens.opening)) >= self.reach:
                    raise ConfigError(f"prefix_text has {length} tokens; the model has {self.reach} positions.")
                self._text_prefix = self.read_text_prefix()
            return self._text_prefix

    def read_text_prefix(self, text: Sequence[int] = ()) -> Prefix:
        """Run the decoder over the uncompressed text before the memories; differentiable unless called under `no_grad`.

        Args:
            text: Token ids of a document to be read as uncompressed text after it.
        """
        return self.read_clear([*self.tokens.opening, *text])

    def read_clear(self, ids: Sequence[int]) -> Prefix:
        """Run the decoder over uncompressed text at positions 0, 1, …; differentiable unless called under `no_grad`."""
        return self._builder.read(ids)

    def empty_prefix(self) -> Prefix:
        """Return a prefix without any position."""
        return self._builder.empty()

    def prefix(
        self, memories: Sequence[Memory], before: Sequence[int] | None = None, *, ratio: int | None = None
    ) -> Prefix:
        """Build the decoder's prefix from memories, in order.

        Args:
            memories: As returned by `compress` or loaded from a store, all of the same ratio. Without any, the prefix
                is the uncompressed text alone.
            before: Token ids of the uncompressed text before them; the model's own prompt opening if not given.
            ratio: The ratio at which they were made; the model's default if not given. Only needed for `focused`
                placement.

        Returns:
            The prefix, on the model's device.

        Raises:
            BudgetError: The prefix has more positions than the decoder.
            ConfigError: The memories do not fit the ratio.
        """

        def copy(number: int, places: Memory) -> None:
            for name, place in places.items():
                place.copy_(memories[number][name])

        ratio = self.config.ratio if ratio is None else ratio
        levels = len(self.layout(ratio).levels)
        if odd := {next(iter(memory.values())).shape[0] for memory in memories} - {levels}:
            raise ConfigError(
                f"A memory has {odd.pop()} levels; at ratio {ratio} it has {levels}. "
                "Say with ratio= at which ratio memories were made."
            )
        return self.load_prefix([next(iter(memory.values())).shape[-2] for memory in memories], copy, before, ratio)

    def load_prefix(
        self,
        entries: Sequence[int],
        load: Callable[[int, Memory], None],
        before: Sequence[int] | None = None,
        ratio: int | None = None,
    ) -> Prefix:
        """Build the decoder's prefix from memories that are written directly into their places.

        Args:
            entries: How many entries each memory has, in order.
            load: Called once for each memory, with its number and the tensors to write it into.
            before: As in `prefix`.
            ratio: As in `prefix`.

        Raises:
            BudgetError: The prefix has more positions than the decoder.
        """
        ratio = self.config.ratio if ratio is None else ratio
        per_slot = self.layout(ratio).per_slot
        text = self.text_prefix() if before is None else self._read_before(before)
        if not entries:
            return text
        slots = sum(-(-count // per_slot) for count in entries)
        if text.length + slots >= self.reach:
            raise BudgetError(
                f"{slots} slots do not fit into the {self.reach} positions of {self.config.base!r}; "
                "take fewer windows or a higher ratio."
            )
        with self._lock, torch.no_grad():
            return self._builder.load(text, entries, load, ratio, before)

    def _read_before(self, before: Sequence[int]) -> Prefix:
        with self._lock, torch.no_grad():
            return self.read_clear(before)

    def assemble(
        self, text: Prefix, memories: Sequence[Memory], ratio: int, before: Sequence[int] | None = None
    ) -> Prefix:
        """Build a prefix from memories and uncompressed text; differentiable unless called under `no_grad`.

        Args:
            text: The uncompressed text before them, as read by the decoder.
            memories: In order.
            ratio: The ratio at which they were made.
            before: The token ids of the text; the model's own prompt opening if not given.
        """
        return self._builder.assemble(text, memories, ratio, before)

    def token_ids(self, text: str, *, special: bool = False) -> list[int]:
        """Return the token ids of a text without special tokens around it.

        Args:
            text: The text.
            special: Whether special tokens in the text are parsed as such, and not as plain text.
        """
        return self.tokens.ids(text, special=special)

    def question_ids(self, question: str) -> list[int]:
        """Return the token ids of a question in its template; special tokens in it are treated as plain text."""
        return self.tokens.question(question)

    def slot_room(self, question_ids: Sequence[int], max_new_tokens: int, before: Sequence[int] | None = None) -> int:
        """Return how many memory slots fit beside a question and its answer.

        Args:
            question_ids: Token ids after the memories.
            max_new_tokens: Maximum length of the answer.
            before: Token ids before the memories; the model's own prompt opening if not given.

        Raises:
            BudgetError: The question and its answer alone are too long.
        """
        front = self.text_prefix().length if before is None else len(before)
        room = self.reach - front - len(question_ids) - max_new_tokens
        if room < 0:
            raise BudgetError(
                f"The question has {len(question_ids)} tokens and the answer may have {max_new_tokens}; with the "
                f"prompt they do not fit into the {self.reach} positions of {self.config.base!r}. "
                "Shorten the question or lower max_new_tokens."
            )
        return room

    def generate(
        self,
        prefixes: Sequence[Prefix],
        questions: Sequence[Sequence[int]],
        options: GenerationOptions | None = None,
        *,
        grammars: Sequence[Grammar | None] = (),
        plain: bool = False,
        **more: Any,
    ) -> list[Generation]:
        """Answer a batch of questions, each after its own prefix.

        Args:
            prefixes: As returned by `prefix`, one per question.
            questions: As returned by `question_ids`.
            options: How to generate.
            grammars: Grammar of each answer; `None` for no restriction.
            plain: Whether the base model answers, without the decoder's adapter.
            **more: `emit` and `cancel` as in `generation.generate`.

        Raises:
            BudgetError: A question does not fit after its prefix.
        """
        options = options or GenerationOptions()
        if not questions or len(prefixes) != len(questions) or not all(questions):
            raise ConfigError(
                f"{len(questions)} questions and {len(prefixes)} prefixes: one prefix a question, please."
            )
        for prefix, question in zip(prefixes, questions, strict=True):
            if prefix.length + len(question) + options.max_new_tokens > self.reach:
                raise BudgetError(
                    f"{prefix.length} positions of memory, {len(question)} of the question and up to "
                    f"{options.max_new_tokens} of the answer do not fit into the {self.reach} of {self.config.base!r}."
                )
        self.tokens.check(questions)
        with self._lock, torch.no_grad():
            processors = [GrammarProcessor(self._guide, grammars)] if any(grammars) else []
            return generate(
                self.parts.base if plain else self.decoder, self.tokenizer, prefixes, questions, options,
                end_ids=self.parts.end_ids, stop=self.config.stop, marker=self.config.answer_marker,
                declining=self._declining, processors=processors, grammars=grammars, **more,
            )  # fmt: skip

    def confidence(self, generation: Generation) -> float:
        """Return the confidence of an answer, from 0 to 1; see `model.confidence`."""
        return confidence(generation.evidence, self.config.confidence)

    def answer(
        self,
        text: str,
        question: str,
        *,
        ratio: int | None = None,
        instruction: Literal["clear", "reconstruct"] = "clear",
        untrained: bool = False,
        **options: Any,
    ) -> Generation:
        """Compress a text and answer one question about it, without a store.

        Args:
            text: The document.
            question: The question.
            ratio: Compression ratio.
            instruction: `clear` puts the uncompressed question after the memory. `reconstruct` is the published
                instruction reconstruction: the question is compressed with the text, and the decoder writes it out
                before it answers (for `residual` models that were trained for it).
            untrained: Allow a ratio for which the model has no trained adapter.
            **options: Fields of `GenerationOptions`.

        Raises:
            EmptyDocumentError: The text has no tokens.
            ConfigError: An option is invalid.
            BudgetError: It does not fit the decoder's positions.
        """
        if instruction not in ("clear", "reconstruct"):
            raise ConfigError(f"instruction must be 'clear' or 'reconstruct'; it is {instruction!r}.")
        if instruction == "reconstruct" and self.config.injection != "residual":
            raise ConfigError("Instruction reconstruction is for models with residual injection; this one has kv.")
        reconstruct = instruction == "reconstruct"
        windows = self.cut(f"{text}\n\n{question}" if reconstruct else text)
        if not windows:
            raise EmptyDocumentError("The text has no tokens, so there is nothing to answer from.")
        memories = self.compress([window.ids for window in windows], ratio, untrained=untrained)
        prefix = self.prefix(memories, ratio=ratio)
        asked = self.question_ids("" if reconstruct else question)
        return self.generate([prefix], [asked], GenerationOptions().but(**options))[0]
