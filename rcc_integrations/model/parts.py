"""The networks of an RCC model, as loading puts them together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from rcc_integrations.model import packaged
from rcc_integrations.model.adapters import Adapter
from rcc_integrations.model.fingerprint import weights_digest
from rcc_integrations.model.projection import LevelProjections
from rcc_integrations.model.routing_head import RoutingHead
from rcc_integrations.model.slots import SlotLayout


@dataclass(eq=False)
class Parts:
    """Everything of an RCC model but its settings.

    Args:
        tokenizer: A fast tokenizer of transformers.
        base: The causal LM without adapters. Encoder and decoder share its weights.
        make_encoder: Returns the body that reads windows. Who only asks never needs it.
        decoder: Causal LM that answers.
        projections: Maps from the encoder's levels to the decoder's.
        encoder_adapter: Adapter on the encoder.
        decoder_adapter: Adapter on the decoder.
        encoder_base: A causal LM of its own below the encoder, as in released checkpoints.
        named_base: Whether the base can be loaded again by the name in the settings.
        base_digest: Hash over the base's weights, if known without reading them.
        routing: Routing heads, for memories of several layouts; no part of the digest, as no memory depends on them.
    """

    tokenizer: Any
    base: PreTrainedModel
    make_encoder: Callable[[], nn.Module]
    decoder: Any
    projections: LevelProjections
    encoder_adapter: Adapter | None = None
    decoder_adapter: Adapter | None = None
    encoder_base: PreTrainedModel | None = None
    named_base: bool = True
    base_digest: str | None = None
    routing: tuple[RoutingHead, ...] = ()

    @cached_property
    def encoder(self) -> nn.Module:
        """The body that reads windows."""
        return self.make_encoder()

    def routing_head(self, layout: SlotLayout) -> RoutingHead | None:
        """Return the routing head for memories of a layout, the one that reads most of their levels, if any does."""
        fitting = [head for head in self.routing if head.fits(layout)]
        return max(fitting, key=lambda head: len(head.levels), default=None)

    @property
    def end_ids(self) -> list[int]:
        """Tokens that end an answer."""
        found = self.base.generation_config.eos_token_id if self.base.generation_config else None
        ends = list(found) if isinstance(found, list | tuple) else [found]
        ends.append(getattr(self.tokenizer, "eos_token_id", None))
        return sorted({token for token in ends if type(token) is int and 0 <= token < self.vocabulary})

    @property
    def vocabulary(self) -> int:
        """How many tokens have an embedding, in every network."""
        bases: list[Any] = [base for base in (self.base, self.encoder_base) if base is not None]
        return min(int(base.get_input_embeddings().weight.shape[0]) for base in bases)

    def check_base(self) -> None:
        """Compare the base's weights with the digest that is known of them.

        Raises:
            ModelError: They are not what the digest was taken of.
        """
        if self.base_digest is not None and weights_digest(self.base.named_parameters()) != self.base_digest:
            raise packaged.damaged(packaged.converted_folder(), "they do not fit the digest that was taken of them")

    def digest(self) -> str:
        """Return a hash over all weights, 32 hex digits."""
        found = [self.base_digest or weights_digest(self.base.named_parameters())]
        if self.encoder_base is not None:
            found.append(weights_digest(self.encoder_base.named_parameters()))
        for adapter in (self.encoder_adapter, self.decoder_adapter):
            if adapter is not None:
                settings = (
                    f"{adapter.config.r}:{adapter.config.lora_alpha}:{sorted(adapter.config.target_modules or [])}"
                )
                found += [settings, weights_digest(adapter.weights.items())]
        found.append(weights_digest(self.projections.named_parameters()))
        return hashlib.blake2b("\n".join(found).encode(), digest_size=16).hexdigest()
