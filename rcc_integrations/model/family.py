"""What the package has to know about a model family: where its layers are and how its keys are rotated.

Everything else goes through hooks on the layers, so Llama, Qwen2, Qwen3, Mistral and GPT-NeoX share one
implementation, and a further family needs no code if its decoder layers look like theirs.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from rcc_integrations.errors import ModelError

#: Families that the tests cover. Others are tried, and refused if a part is not found.
TESTED = ("llama", "qwen2", "qwen3", "mistral", "gpt_neox")


@dataclass(frozen=True)
class Family:
    """The parts of a causal LM (or of its body alone) that memory touches.

    Args:
        body: The transformer without the output head.
        layers: Its decoder layers, in order.
        rotary: The module that returns (cos, sin) for positions.
        cache_argument: Name under which a layer takes its cache.
    """

    body: nn.Module
    layers: nn.ModuleList
    rotary: nn.Module
    cache_argument: str

    @classmethod
    def of(cls, model: nn.Module) -> Family:
        """Find the parts in a model.

        Args:
            model: A causal LM of transformers, its body, or either wrapped by peft.

        Raises:
            ModelError: If a part is not where it is in every tested family.
        """
        if isinstance(model, PeftModel):
            model = model.get_base_model()
        body: Any = getattr(model, getattr(model, "base_model_prefix", "") or "model", model)
        layers, rotary = getattr(body, "layers", None), getattr(body, "rotary_emb", None)
        name = type(model).__name__
        if not isinstance(layers, nn.ModuleList) or not isinstance(rotary, nn.Module):
            raise ModelError(
                f"{name} has no `layers` and `rotary_emb` in its body, so memory cannot be brought into it. "
                f"Tested families: {', '.join(TESTED)}; CONTRIBUTING.md says how to add one."
            )
        parameters = inspect.signature(layers[0].forward).parameters
        for argument in ("past_key_values", "layer_past"):
            if argument in parameters and "position_embeddings" in parameters:
                return cls(body, layers, rotary, argument)
        raise ModelError(f"The layers of {name} take no cache and position embeddings, so memory cannot be brought in.")

    def rotation(self, positions: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return (cos, sin), each of shape (1, positions, rotary width), in the dtype of `like`."""
        cos, sin = self.rotary(like, position_ids=positions[None])
        return cos, sin


def rotate(keys: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate keys to their positions (rotary embedding, arXiv 2104.09864, the half-split form).

    Args:
        keys: Shape (..., positions, head width), not rotated.
        cos: Shape (1, positions, rotary width); the rest of the head is left as it is.
        sin: Same shape.

    Returns:
        The rotated keys, same shape.
    """
    width = cos.shape[-1]
    turned, rest = keys[..., :width], keys[..., width:]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos[0] + torch.cat((-second, first), dim=-1) * sin[0]
    return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned
