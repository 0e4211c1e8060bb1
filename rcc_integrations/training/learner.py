"""`Learner`: the networks under training and their loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from torch import Tensor, nn
from torch.nn import functional

from rcc_integrations.config import RCCConfig
from rcc_integrations.errors import ConfigError
from rcc_integrations.model import checkpoint
from rcc_integrations.model.adapters import Adapter
from rcc_integrations.model.cache import attention_reach, growing_cache
from rcc_integrations.model.encoder import encode_slots
from rcc_integrations.model.family import Family
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.parts import Parts
from rcc_integrations.model.prefix import Prefix, stack_prefixes
from rcc_integrations.model.projection import LevelProjections
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.model.runtime import shared_copy
from rcc_integrations.training.batch import CLEAR, Batch
from rcc_integrations.training.packing import additive, lay_questions, lay_windows, packed_rows
from rcc_integrations.training.settings import TrainSettings

#: Windows' worth of tokens in one row of the encoder's batch.
_ROW_WINDOWS = 3

#: Linear layers that adapters go on, by family; `all-linear` elsewhere. The decoder's keys and values stay the base's.
_ENCODER_TARGETS = "all-linear"
_DECODER_TARGETS = ["q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Outcome:
    """What a batch gave.

    Args:
        loss: Mean over all target tokens; what is minimised.
        tokens: Number of target tokens.
        right: For each question, how many of its target tokens were foretold rightly.
        lengths: For each question, how many target tokens it has.
        kinds: For each question, its kind.
    """

    loss: Tensor
    tokens: int
    right: list[int]
    lengths: list[int]
    kinds: list[str]


class Learner(nn.Module):
    """An RCC model whose adapters and projections can be trained.

    Args:
        settings: Of the run.
        dtype: What the base's weights are held in.
        device: Where everything is.
    """

    def __init__(self, settings: TrainSettings, dtype: str, device: str) -> None:
        super().__init__()
        started = None
        if settings.start is not None:
            config, started = checkpoint.load(settings.start, device=device, dtype=dtype, attn="sdpa", merge=False)
            base, tokenizer = started.base, started.tokenizer
        else:
            layout: dict[str, Any] = {"window": settings.window}
            config, parts = checkpoint.from_base(settings.base, device=device, dtype=dtype, attn="sdpa", **layout)
            base, tokenizer = parts.base, parts.tokenizer
            config = _trained_layout(config, settings)
        reach = attention_reach(base.config)
        if config.window > reach:
            raise ConfigError(f"window {config.window} is longer than the {reach} positions of {config.base!r}.")
        torch.manual_seed(settings.seed)
        body = Family.of(base).body
        self._encoder = _adapted(body, settings.encoder_rank, started.encoder_adapter if started else None)
        self._decoder = _adapted(base, settings.decoder_rank, started.decoder_adapter if started else None, decoder=True)
        projections = _projections(config, base, started)
        self._parts = Parts(
            tokenizer=tokenizer,
            base=base,
            encoder=self._encoder.get_base_model(),
            decoder=self._decoder.get_base_model(),
            projections=projections,
            named_base=started.named_base if started else True,
        )
        self.model = RCCModel(config, self._parts)
        self._family = Family.of(self._parts.decoder)
        self._encoder_family = Family.of(self._parts.encoder)
        # Training needs no more of the top layer than its input.
        top = f"layers.{self.model.levels - 1}."
        for name, weight in self._encoder.named_parameters():
            if top in name:
                weight.requires_grad_(False)

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are trained, by name."""
        kinds = (("encoder", self._encoder), ("decoder", self._decoder), ("projections", self._parts.projections))
        return {f"{kind}.{name}": weight for kind, module in kinds for name, weight in module.named_parameters()
                if weight.requires_grad}  # fmt: skip

    def save(self, folder: Any, config: RCCConfig) -> None:
        """Write the model as it is now, as `RCCModel.save_pretrained` does; projections in bfloat16."""
        held = LevelProjections(config.projection, self.model.levels, self._parts.projections.hidden,
                                config.projection_rank).to(torch.bfloat16)  # fmt: skip
        held.load_state_dict(self._parts.projections.state_dict())
        parts = Parts(
            tokenizer=self._parts.tokenizer,
            base=self._parts.base,
            encoder=self._parts.encoder,
            decoder=self._parts.decoder,
            projections=held,
            encoder_adapter=Adapter.of(self._encoder),
            decoder_adapter=Adapter.of(self._decoder),
            named_base=self._parts.named_base,
        )
        checkpoint.save(folder, config, parts)

    def compress(self, windows: list[list[int]], ratio: int) -> list[Memory]:
        """Compress windows, with gradients if they are wanted; several windows share a row without seeing each other."""
        rows = packed_rows([len(window) for window in windows], _ROW_WINDOWS * self.model.config.window)
        ids, positions, mask, slots, counts = lay_windows(
            windows, rows, ratio, levels=self.model.levels, placement=self.model.config.placement
        )
        device = self.model.device
        states = encode_slots(
            self._encoder_family,
            ids.to(device),
            slots.to(device),
            position_ids=positions.to(device),
            attention_mask=additive(mask, self._parts.base.dtype).to(device),
        )
        memory = self.model.inject(states)
        found: dict[int, Memory] = {}
        for row, numbers in enumerate(rows):
            at = 0
            for number in numbers:
                found[number] = {name: both[row][..., at : at + counts[number], :] for name, both in memory.items()}
                at += counts[number]
        return [found[number] for number in range(len(windows))]

    def forward(self, batch: Batch, memories: list[Memory] | None = None, distil: float = 0.0) -> Outcome:
        """Return the loss of a batch.

        Args:
            batch: What is read and asked.
            memories: Of its windows; compressed now if not given.
            distil: Weight of the divergence from the same decoder reading the text in clear.
        """
        logits, targets = self._read(batch, self._prefixes(batch, memories))
        loss = functional.cross_entropy(logits.float(), targets)
        if distil:
            with torch.no_grad():
                taught, _ = self._read(batch, self._clear(batch))
            loss = loss + distil * functional.kl_div(
                logits.float().log_softmax(-1), taught.float().log_softmax(-1), log_target=True, reduction="batchmean"
            )
        lengths = [len(item.ids) - item.answer for each in batch.asked for item in each]
        hits = (logits.argmax(-1) == targets).tolist()
        ends = torch.tensor(lengths).cumsum(0).tolist()
        right = [sum(hits[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
        return Outcome(loss, len(targets), right, lengths, [item.kind for each in batch.asked for item in each])

    def _prefixes(self, batch: Batch, memories: list[Memory] | None) -> list[Prefix]:
        if batch.ratio == CLEAR:
            return self._clear(batch)
        memories = memories or self.compress(batch.windows, batch.ratio)
        text = self.model.read_text_prefix()
        return [self.model.assemble(text, [memories[number] for number in each]) for each in batch.memory]

    def _clear(self, batch: Batch) -> list[Prefix]:
        texts = [[token for number in each for token in batch.windows[number]] for each in batch.own]
        return [self.model.read_text_prefix(text) for text in texts]

    def _read(self, batch: Batch, prefixes: list[Prefix]) -> tuple[Tensor, Tensor]:
        """Return the decoder's logits where answers are foretold, and the answers' tokens."""
        keys, values, used = stack_prefixes(prefixes)
        ids, positions, mask, places = lay_questions(batch.asked, prefixes, used)
        device = keys.device
        output = self._family.body(
            input_ids=ids.to(device),
            position_ids=positions.to(device),
            attention_mask=additive(mask, keys.dtype).to(device),
            past_key_values=growing_cache(keys, values),
            use_cache=True,
        )
        rows, columns = places.to(device).unbind(1)
        logits: Tensor = self._parts.decoder.get_output_embeddings()(output.last_hidden_state[rows, columns])
        targets = ids.to(device)[rows, columns + 1]
        return logits, targets


def _trained_layout(config: RCCConfig, settings: TrainSettings) -> RCCConfig:
    import dataclasses

    return dataclasses.replace(
        config,
        injection=settings.injection,
        placement=settings.placement,
        projection="low_rank",
        projection_rank=settings.projection_rank,
    )


def _projections(config: RCCConfig, base: Any, started: Parts | None) -> LevelProjections:
    settings = base.config.get_text_config(decoder=True)
    made = LevelProjections(config.projection, settings.num_hidden_layers, settings.hidden_size, config.projection_rank)
    if started is not None:
        made.load_state_dict(started.projections.state_dict())
    return made.to(device=base.device, dtype=torch.float32).train()


def _adapted(model: nn.Module, rank: int, start: Adapter | None, *, decoder: bool = False) -> PeftModel:
    """Put a trainable adapter on a copy of a model that shares its weights."""
    carrier: Any = shared_copy(model)
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    targets: Any = [name for name in _DECODER_TARGETS if name in names] if decoder else _ENCODER_TARGETS
    rank = start.config.r if start else rank
    settings = LoraConfig(r=rank, lora_alpha=start.config.lora_alpha if start else rank, target_modules=targets or "all-linear")
    wrapped = get_peft_model(carrier, settings)
    if start is not None:
        set_peft_model_state_dict(wrapped, start.weights)
    for name, weight in wrapped.named_parameters():
        weight.requires_grad_("lora_" in name)
        if "lora_" in name:
            weight.data = weight.data.float()
    assert isinstance(wrapped, PeftModel)
    return wrapped
