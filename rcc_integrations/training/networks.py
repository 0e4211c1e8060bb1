"""The networks that training starts from: a base or a saved model, with adapters that can be trained."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from torch import nn

from rcc_integrations.config import RCCConfig
from rcc_integrations.errors import ConfigError, ModelError
from rcc_integrations.model import checkpoint, packaged
from rcc_integrations.model.adapters import Adapter
from rcc_integrations.model.cache import attention_window
from rcc_integrations.model.family import Family
from rcc_integrations.model.parts import Parts
from rcc_integrations.model.projection import LevelProjections
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.model.runtime import shared_copy
from rcc_integrations.model.slots import SlotLayout
from rcc_integrations.training.ranking import rank_layers
from rcc_integrations.training.settings import TrainSettings

#: Linear layers of the decoder that its adapter goes on, by name: its keys and values stay the base's. A family that
#: has none of these names gets adapters on all its linear layers, as the encoder does.
_DECODER_TARGETS = ("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, eq=False)
class Networks:
    """What is trained.

    Args:
        config: Layout of the model.
        parts: Its networks; encoder and decoder carry their adapters.
        encoder: The encoder as peft wraps it.
        decoder: The decoder as peft wraps it.
    """

    config: RCCConfig
    parts: Parts
    encoder: PeftModel
    decoder: PeftModel

    @classmethod
    def make(cls, settings: TrainSettings, dtype: str, device: str, attn: str = "sdpa") -> Networks:
        """Load base or saved model and put trainable adapters on it.

        Args:
            settings: Of the run; its seed decides the adapters' first weights.
            dtype: What the base's weights are held in.
            device: Where everything is.
            attn: Implementation of attention, `sdpa` or `eager`.

        Raises:
            ConfigError: If a setting contradicts the model to go on from, or does not fit the base.
            ModelNotFoundError: The base or saved model cannot be found.
            ModelError: If they cannot be trained.
        """
        runtime: dict[str, Any] = {"device": device, "dtype": dtype, "attn": attn}
        if settings.start is not None:
            config, old = checkpoint.load(settings.start, **runtime, merge=False)
            _check_start(settings, config, old)
        else:
            config, old = checkpoint.from_base(_base(settings), **runtime, **_layout(settings))
            if _focuses(settings, old):
                layers = settings.layers or _saved_layers(settings.output) or rank_layers(RCCModel(config, old))
                config = dataclasses.replace(config, placement="focused", layers=layers)
                RCCModel(config, old)  # says what does not fit
        settings.check_ratios(config.window)
        torch.manual_seed(settings.seed)
        encoder = _adapted(Family.of(old.base).body, settings.layout("encoder_rank"), old.encoder_adapter, None)
        decoder = _adapted(old.base, settings.layout("decoder_rank"), old.decoder_adapter, _DECODER_TARGETS)
        text = old.base.config.get_text_config(decoder=True)
        levels, hidden = int(text.num_hidden_layers), int(text.hidden_size)
        projections = LevelProjections(config.projection, levels, hidden, config.projection_rank)
        if settings.start is not None:
            projections.load_state_dict(old.projections.state_dict())
        projections.to(device=old.base.device, dtype=torch.float32).requires_grad_(True).train()
        parts = Parts(
            tokenizer=old.tokenizer,
            base=old.base,
            make_encoder=encoder.get_base_model,
            decoder=decoder.get_base_model(),
            projections=projections,
            named_base=old.named_base,
            base_digest=old.base_digest,
        )
        used = {level for ratio in settings.ratios if ratio for level in SlotLayout.of(config, levels, ratio).levels}
        # The encoder's pass ends at the input of the highest layer with memory.
        for layer in Family.of(encoder).layers[max(used) :]:
            layer.requires_grad_(False)
        for level, projection in enumerate(projections.level):
            projection.requires_grad_(level in used)
        return cls(config, parts, encoder, decoder)

    def snapshot(self) -> Parts:
        """Return the parts as they are saved: adapters taken off, in bfloat16, projections too."""
        trained = self.parts.projections
        held = LevelProjections(trained.kind, len(trained.level), trained.hidden, self.config.projection_rank)
        held.load_state_dict(trained.state_dict())
        return dataclasses.replace(
            self.parts,
            projections=held.to(torch.bfloat16),
            encoder_adapter=Adapter.of(self.encoder),
            decoder_adapter=Adapter.of(self.decoder),
        )


def _focuses(settings: TrainSettings, parts: Parts) -> bool:
    """Say whether a new model gets focused placement: if asked for, or if nothing speaks against it."""
    if settings.placement is not None:
        return settings.placement == "focused"
    return settings.layout("injection") == "kv" and attention_window(parts.base.config) is None


def _saved_layers(output: Path) -> tuple[int, ...]:
    """Return the layers of a run that goes on: measured once, for another machine might order them otherwise."""
    return RCCConfig.load(output / "model").layers if (output / "model" / "rcc_config.json").exists() else ()


def _base(settings: TrainSettings) -> str:
    base = str(settings.layout("base"))
    # A saved model names its base: a folder has to be found from elsewhere too.
    return str(Path(base).resolve()) if base != packaged.NAME and Path(base).is_dir() else base


def _layout(settings: TrainSettings) -> dict[str, Any]:
    injection = settings.layout("injection")
    return {
        "injection": injection,
        "placement": _plain_placement(settings),
        "window": settings.layout("window"),
        "projection": "low_rank",
        "projection_rank": settings.layout("projection_rank"),
    }


def _plain_placement(settings: TrainSettings) -> str:
    """Return the placement until the layers to focus on are known."""
    if settings.placement in (None, "focused"):
        return "staggered" if settings.layout("injection") == "kv" else "last"
    return str(settings.placement)


def _check_start(settings: TrainSettings, config: RCCConfig, old: Parts) -> None:
    if config.filling != "none" or old.encoder_base is not None:
        raise ConfigError(
            f"{settings.start} is in the layout of released RCC checkpoints, which are read but not trained further."
        )
    kept = ("base", "injection", "placement", "layers", "window")
    held: dict[str, Any] = {name: getattr(config, name) for name in kept}
    for name, adapter in (("encoder_rank", old.encoder_adapter), ("decoder_rank", old.decoder_adapter)):
        if adapter is not None:
            held[name] = adapter.config.r
    held["projection_rank"] = config.projection_rank
    for name, value in held.items():
        given = getattr(settings, name)
        if given not in (None, ()) and given != value:
            raise ConfigError(
                f"The model to go on from, {settings.start}, has {name} {value!r}, which is kept; {given!r} was given "
                f"(command line: --{name.replace('_', '-')}). Leave it out, or train from a base."
            )


def _adapted(model: nn.Module, rank: int, start: Adapter | None, targets: tuple[str, ...] | None) -> PeftModel:
    """Put a trainable adapter on a copy of a model that shares its weights.

    Args:
        model: Body or causal LM.
        rank: Rank of a new adapter.
        start: Adapter to go on from; it gets further layers where it lacks some of the targets.
        targets: Names of the layers; all linear ones if None, or if the model has none of these.
    """
    carrier: Any = shared_copy(model)
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    chosen: Any = sorted(names & set(targets or ())) or "all-linear"
    if start is None:
        settings = LoraConfig(r=rank, lora_alpha=rank, target_modules=chosen)
    else:
        settings = copy.copy(start.config)
        if chosen != "all-linear" and not isinstance(start.config.target_modules, str):
            chosen = sorted({*chosen, *(start.config.target_modules or ())})
        settings.target_modules, settings.inference_mode, settings.lora_dropout = chosen, False, 0.0
    # Which base an adapter is for is said in rcc_config.json.
    settings.base_model_name_or_path = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        wrapped = get_peft_model(carrier, settings)
    wrapped.peft_config["default"].base_model_name_or_path = None
    if start is not None:
        outcome: Any = set_peft_model_state_dict(wrapped, start.weights)
        if outcome.unexpected_keys:
            raise ModelError(f"The saved adapter does not fit {type(model).__name__}: {outcome.unexpected_keys[0]!r}.")
    for name, weight in wrapped.named_parameters():
        weight.requires_grad_("lora_" in name)
        if "lora_" in name:
            weight.data = weight.data.float()
    assert isinstance(wrapped, PeftModel)
    return wrapped
