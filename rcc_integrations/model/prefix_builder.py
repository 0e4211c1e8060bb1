"""`PrefixBuilder`: the decoder's prefix from clear text and memories."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel

from rcc_integrations.model.cache import cache_contents
from rcc_integrations.model.family import Family
from rcc_integrations.model.kv import Memory, kv_prefix, loaded_prefix
from rcc_integrations.model.memory_spec import MemorySpec
from rcc_integrations.model.prefix import Prefix
from rcc_integrations.model.residual import residual_prefix
from rcc_integrations.model.tokens import Tokens


class PrefixBuilder:
    """Reads clear text with the decoder and puts memories behind it; differentiable unless called under `no_grad`.

    Args:
        decoder: The causal LM that answers.
        family: Its parts.
        spec: The shape of memories.
        tokens: The model's own opening, and checks of token ids.
    """

    def __init__(self, decoder: PreTrainedModel, family: Family, spec: MemorySpec, tokens: Tokens) -> None:
        self._decoder, self._family, self._spec, self._tokens = decoder, family, spec, tokens

    def read(self, ids: Sequence[int]) -> Prefix:
        """Run the decoder over clear text at positions 0, 1, …."""
        if not ids:
            return self.empty()
        self._tokens.check([ids])
        output = self._family.body(input_ids=torch.tensor([list(ids)], device=self._decoder.device), use_cache=True)
        keys, values = cache_contents(output.past_key_values)
        return Prefix(keys[:, 0], values[:, 0], len(ids), 0)

    def empty(self) -> Prefix:
        """Return a prefix without any position."""
        shape = (self._spec.levels, self._spec.heads, 0, self._spec.width)
        nothing = torch.zeros(shape, device=self._decoder.device, dtype=self._decoder.dtype)
        return Prefix(nothing, nothing.clone(), 0, 0)

    def load(
        self,
        text: Prefix,
        entries: Sequence[int],
        load: Callable[[int, Memory], None],
        ratio: int,
        before: Sequence[int] | None = None,
    ) -> Prefix:
        """Put memories, which are written straight into their places, behind clear text.

        Args:
            text: The clear text, read.
            entries: How many entries each memory has, in order; at least one memory.
            load: Called once for each memory, with its number and the tensors to write it into.
            ratio: The ratio that the memories were made at.
            before: The token ids of the text; the model's own prompt opening if not given.
        """
        layout = self._spec.layout(ratio)
        if self._spec.config.injection == "kv":
            return loaded_prefix(self._family, text, entries, load, layout)
        memories: list[Memory] = []
        for number, count in enumerate(entries):
            shapes = self._spec.shapes(ratio).items()
            memories.append({name: text.keys.new_empty(*outer, count, last) for name, (*outer, last) in shapes})
            load(number, memories[-1])
        return self.assemble(text, memories, ratio, before)

    def assemble(
        self, text: Prefix, memories: Sequence[Memory], ratio: int, before: Sequence[int] | None = None
    ) -> Prefix:
        """Put memories behind clear text.

        Args:
            text: The clear text, read.
            memories: In order.
            ratio: The ratio at which they were made.
            before: The token ids of the text; the model's own prompt opening if not given.
        """
        if self._spec.config.injection == "kv" or not memories:
            return kv_prefix(self._family, text, memories, self._spec.layout(ratio))
        ids = torch.tensor(list(self._tokens.opening if before is None else before), dtype=torch.int64)
        embeddings = self._decoder.get_input_embeddings()(ids.to(self._decoder.device))
        return residual_prefix(self._family, embeddings, memories)
