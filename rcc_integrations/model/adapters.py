"""LoRA adapters in peft's format: put on a shared base, merged where memory allows, saved again."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rcc_integrations.errors import ModelError
from rcc_integrations.model.folder import check_finite, read_json
from rcc_integrations.model.runtime import shared_copy


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA adapter that is not yet on a model.

    Args:
        config: Its settings.
        weights: Its tensors under peft's names.
    """

    config: LoraConfig
    weights: dict[str, Tensor]

    @classmethod
    def load(cls, folder: Path) -> Adapter | None:
        """Read a folder in peft's format, safetensors only; `None` if there is no such folder.

        Raises:
            ModelError: If the folder is not a usable LoRA adapter.
        """
        if not folder.is_dir():
            return None
        settings = read_json(folder / "adapter_config.json")
        try:
            weights = load_file(folder / "adapter_model.safetensors")
        except (OSError, ValueError, SafetensorError) as error:
            raise ModelError(f"{folder} is not an adapter that can be read: {error}") from error
        if settings.get("peft_type") != "LORA":
            raise ModelError(f"{folder} holds a {settings.get('peft_type')!r} adapter; only LORA is read.")
        check_finite(weights, str(folder))
        return cls(_plain_lora(settings, weights, folder), weights)

    def save(self, folder: Path) -> None:
        """Write the adapter to a folder in peft's format."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(str(folder))
        save_file({name: tensor.contiguous() for name, tensor in self.weights.items()},
                  folder / "adapter_model.safetensors", metadata={"format": "pt"})  # fmt: skip

    def check(self, model: nn.Module) -> None:
        """Refuse what does not fit, before the adapter is put on a model.

        Args:
            model: Body or causal LM that the adapter was made for.

        Raises:
            ModelError: If one of its tensors has no place in the model, or another shape.
        """
        places = dict(model.named_modules())
        for name, tensor in self.weights.items():
            path, _, half = name.removeprefix("base_model.model.").partition(".lora_")
            place = places.get(path)
            fits = place is not None and name.replace(".lora_A.", ".lora_B.") in self.weights
            fits = fits and name.replace(".lora_B.", ".lora_A.") in self.weights
            if fits and isinstance(place, nn.Linear):
                sizes = {
                    "A.weight": (self.config.r, place.in_features),
                    "B.weight": (place.out_features, self.config.r),
                }
                fits = sizes.get(half) == tuple(tensor.shape)
            if not fits:
                raise ModelError(
                    f"The adapter does not fit {type(model).__name__}: its tensor {name!r} of shape "
                    f"{list(tensor.shape)} has no place there, another shape, or no other half."
                )

    def on(self, model: nn.Module, *, merge: bool) -> nn.Module:
        """Return a copy of a model that carries this adapter and shares all other weights with it.

        Args:
            model: Body or causal LM that the adapter was made for.
            merge: Add the adapter into copies of the weights that it changes (faster, more memory), or keep it apart.

        Raises:
            ModelError: If the adapter does not fit the model.
        """
        carrier = shared_copy(model)
        # Which base an adapter is for is said in rcc_config.json; peft would warn that the folder's name is another.
        settings = copy.copy(self.config)
        settings.base_model_name_or_path = getattr(getattr(model, "config", None), "name_or_path", None)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                # Nothing is initialised at random that is overwritten at once.
                wrapped = get_peft_model(carrier, settings, low_cpu_mem_usage=True)
            outcome: Any = set_peft_model_state_dict(wrapped, self.weights, low_cpu_mem_usage=True)
        except Exception as error:
            raise ModelError(f"The adapter does not fit {type(model).__name__}: {error}") from error
        if outcome.unexpected_keys:
            raise ModelError(
                f"The adapter does not fit {type(model).__name__}: it has {len(outcome.unexpected_keys)} tensors "
                f"without a place, such as {outcome.unexpected_keys[0]!r}."
            )
        places = sum("lora_" in name for name, _ in wrapped.named_parameters())
        if places != len(self.weights):
            raise ModelError(
                f"The adapter does not fit {type(model).__name__}: "
                f"it has {len(self.weights)} tensors for {places} places."
            )
        reference = next(model.parameters())
        wrapped.to(device=reference.device, dtype=reference.dtype)
        if not merge:
            carrier = wrapped.get_base_model()
            return carrier.eval().requires_grad_(False)
        module: Any
        for module in wrapped.modules():
            if hasattr(module, "lora_A") and hasattr(module, "base_layer"):
                # Merging adds in place; the base's own weights must stay as they are.
                module.base_layer.weight = nn.Parameter(module.base_layer.weight.detach().clone(), requires_grad=False)
        merged: nn.Module = wrapped.merge_and_unload()
        return merged.eval().requires_grad_(False)

    @classmethod
    def of(cls, wrapped: PeftModel) -> Adapter:
        """Take the adapter off a model that peft has wrapped (as training leaves it)."""
        weights = get_peft_model_state_dict(wrapped)
        held = {name: tensor.detach().to("cpu", torch.bfloat16) for name, tensor in weights.items()}
        config = wrapped.peft_config["default"]
        assert isinstance(config, LoraConfig)
        return cls(config, held)


# What peft does with other settings goes as far as importing modules that they name.
_TAKEN = ("r", "lora_alpha", "target_modules", "use_rslora", "layers_to_transform", "lora_dropout")
_UNUSED = ("base_model_name_or_path", "revision", "task_type", "inference_mode", "peft_type", "peft_version",
           "auto_mapping", "init_lora_weights", "qalora_group_size")  # fmt: skip


def _plain_lora(settings: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path) -> LoraConfig:
    """Return the settings of a plain LoRA adapter; whatever goes beyond is refused.

    Raises:
        ModelError: The settings are for something else, or do not fit the weights.
    """
    plain = LoraConfig()
    for name in LoraConfig.__dataclass_fields__:
        value = settings.get(name)
        if name not in _TAKEN + _UNUSED and value and value != getattr(plain, name):
            raise ModelError(f"{folder} asks for {name}={value!r:.80}, which is no part of the adapters read here.")
    rank, targets = settings.get("r"), settings.get("target_modules")
    alpha: Any = settings.get("lora_alpha")
    if type(rank) is not int or any(
        tensor.ndim != 2 or rank not in tensor.shape for name, tensor in weights.items() if "lora_" in name
    ):
        raise ModelError(f"{folder} tells of rank {rank!r:.80}, which its tensors do not have.")
    if type(alpha) not in (int, float) or not 0 < alpha < 2**20:
        raise ModelError(f"{folder} has no valid lora_alpha: {alpha!r:.80}.")
    # A text other than this would be a regular expression, and one can be made to run for ever.
    if targets != "all-linear" and not (isinstance(targets, list) and all(isinstance(each, str) for each in targets)):
        raise ModelError(f"{folder} has no list of names as target_modules: {targets!r:.80}.")
    try:
        return LoraConfig(**{name: settings[name] for name in _TAKEN if settings.get(name) is not None})
    except Exception as error:
        raise ModelError(f"{folder} has settings that peft does not take: {error!r}") from error
