"""`Learner`: the networks under training and their loss."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from rcc_integrations.model import checkpoint
from rcc_integrations.model.cache import growing_cache, uneven_layers
from rcc_integrations.model.encoder import encode_slots
from rcc_integrations.model.family import Family
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.prefix import Prefix, stack_prefixes
from rcc_integrations.model.rcc_model import RCCModel
from rcc_integrations.training.batch import CLEAR, Batch
from rcc_integrations.training.networks import Networks
from rcc_integrations.training.packing import additive, lay_questions, lay_windows, packed_rows
from rcc_integrations.training.settings import TrainSettings

#: Windows' worth of tokens in one row of the encoder's batch.
_ROW_WINDOWS = 3


@dataclass(frozen=True)
class Outcome:
    """What a batch gave.

    Args:
        loss: Mean over all target tokens; what is minimised.
        tokens: Number of target tokens.
        right: For each question, how many of its target tokens were predicted correctly.
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
        device: Where everything is.
        bf16: Compute in bfloat16; adapters and projections are float32 all the same.

    Raises:
        ConfigError: If a setting contradicts the model to go on from, or does not fit the base.
        ModelNotFoundError: The base or saved model cannot be found.
        ModelError: If they cannot be trained.
    """

    def __init__(self, settings: TrainSettings, device: str = "cpu", *, bf16: bool = False) -> None:
        super().__init__()
        # Masked attention in bfloat16 is faster in single steps on a CPU.
        attn = "eager" if bf16 and device == "cpu" else "sdpa"
        self._networks = Networks.make(settings, "bfloat16" if bf16 else "float32", device, attn)
        # `nn.Module` sees the networks through the model.
        self.model = RCCModel(self._networks.config, self._networks.parts)
        self._bf16 = bf16
        self._family = Family.of(self.model.decoder)
        self._encoder_family = Family.of(self.model.encoder)

    def trained(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are trained, by name: of `encoder`, `decoder` and `projections`."""
        networks = self._networks
        kinds: tuple[tuple[str, nn.Module], ...] = (
            ("encoder", networks.encoder), ("decoder", networks.decoder), ("projections", networks.parts.projections)
        )  # fmt: skip
        return {f"{kind}.{name}": weight for kind, module in kinds for name, weight in module.named_parameters()
                if weight.requires_grad}  # fmt: skip

    def save(self, folder: Path, *, ratio: int, ratios: tuple[int, ...], max_windows: int) -> None:
        """Write the model as it is now, as `RCCModel.save_pretrained` does; what is trained in bfloat16.

        Args:
            folder: Where to; replaced as a whole.
            ratio: Ratio used when none is named.
            ratios: Ratios that it was trained for.
            max_windows: Maximum number of windows that it has seen together.
        """
        config = dataclasses.replace(self.model.config, ratio=ratio, ratios=ratios, max_windows=max_windows)
        checkpoint.save(folder, config, self._networks.snapshot())

    def compress(self, windows: list[list[int]], ratio: int, *, frozen: bool = False) -> list[Memory]:
        """Compress windows; several share a row without seeing each other.

        Args:
            windows: Token ids of each.
            ratio: Compression ratio.
            frozen: Without gradients.

        Returns:
            A memory a window, as `RCCModel.compress` returns them.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen), self._precision():
            return self._compress(windows, ratio)

    def forward(self, batch: Batch, memories: list[Memory] | None = None, distil: float = 0.0) -> Outcome:
        """Return the loss of a batch.

        Args:
            batch: What is read and asked.
            memories: Of its windows; compressed now if not given.
            distil: Weight of the divergence from the same decoder reading the uncompressed text.
        """
        with self._precision():
            return self._outcome(batch, memories, distil)

    def _precision(self) -> AbstractContextManager[None]:
        context: AbstractContextManager[None] = torch.autocast(self.model.device.type, torch.bfloat16, self._bf16)
        return context

    def _compress(self, windows: list[list[int]], ratio: int) -> list[Memory]:
        rows = packed_rows([len(window) for window in windows], _ROW_WINDOWS * self.model.config.window)
        layout = self.model.layout(ratio)
        ids, positions, mask, sources, counts = lay_windows(windows, rows, layout)
        device = self.model.device
        states = encode_slots(
            self._encoder_family,
            ids.to(device),
            sources.to(device),
            layout.levels,
            position_ids=positions.to(device),
            attention_mask=additive(mask, self._networks.parts.base.dtype).to(device),
        )
        memory = self.model.inject(states, ratio)
        found: dict[int, Memory] = {}
        for row, numbers in enumerate(rows):
            at = 0
            for number in numbers:
                found[number] = {name: both[row][..., at : at + counts[number], :] for name, both in memory.items()}
                at += counts[number]
        return [found[number] for number in range(len(windows))]

    def _outcome(self, batch: Batch, memories: list[Memory] | None, distil: float) -> Outcome:
        logits, targets = self._read(batch, self._prefixes(batch, memories))
        loss = functional.cross_entropy(logits.float(), targets)
        # The text in clear is what the teacher reads: it has nothing to say about itself.
        if distil and batch.ratio != CLEAR:
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
        if memories is None:
            memories = self._memories(batch)
        text = self.model.read_text_prefix()
        return [self.model.assemble(text, [memories[number] for number in each], batch.ratio) for each in batch.memory]

    def _memories(self, batch: Batch) -> list[Memory]:
        """Compress a batch's windows, those of distractors alone without gradients."""
        if not batch.frozen:
            return self._compress(batch.windows, batch.ratio)
        memories: dict[int, Memory] = {}
        taught = [number for number in range(len(batch.windows)) if number not in batch.frozen]
        for numbers, frozen in ((taught, False), (sorted(batch.frozen), True)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                memories.update(zip(numbers, self._compress([batch.windows[number] for number in numbers], batch.ratio),
                                    strict=True))  # fmt: skip
        return [memories[number] for number in range(len(batch.windows))]

    def _clear(self, batch: Batch) -> list[Prefix]:
        texts = [[token for number in each for token in batch.windows[number]] for each in batch.own]
        return [self.model.read_text_prefix(text) for text in texts]

    def _read(self, batch: Batch, prefixes: list[Prefix]) -> tuple[Tensor, Tensor]:
        """Return the decoder's logits where answers are predicted, and the answers' tokens."""
        stacked = stack_prefixes(prefixes)
        ids, positions, mask, places = lay_questions(batch.asked, stacked)
        device, dtype = stacked.keys[0].device, stacked.keys[0].dtype
        with uneven_layers(self._family.layers, stacked.layers, stacked.extra):
            output = self._family.body(
                input_ids=ids.to(device),
                position_ids=positions.to(device),
                attention_mask=additive(mask, dtype).to(device),
                past_key_values=growing_cache(stacked.keys, stacked.values),
                use_cache=True,
            )
        rows, columns = places.to(device).unbind(1)
        logits: Tensor = self.model.decoder.get_output_embeddings()(output.last_hidden_state[rows, columns])
        targets = ids.to(device)[rows, columns + 1]
        return logits, targets
