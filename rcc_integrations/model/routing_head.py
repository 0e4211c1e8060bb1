"""`RoutingHead`: maps that turn memories and questions into codes, by which a question finds windows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from rcc_integrations.errors import ConfigError, ModelError
from rcc_integrations.model.fingerprint import weights_digest
from rcc_integrations.model.folder import check_finite
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.memory_spec import MemorySpec
from rcc_integrations.model.slots import SlotLayout

#: Name of the file in a model's folder.
FILE = "routing.safetensors"
#: Rises when codes are made in another way: indices made before are made anew.
FORMAT = 1

#: A component of a code is stored as int8 in units of 1/SCALE.
SCALE = 127.0
#: Weights of the scores that make a window's logit: of memory and of words, each of the window itself and of the best
#: window of its document.
MIXTURE = ("memory", "words", "memory_document", "words_document")


class RoutingHead(nn.Module):
    """A late interaction in few dimensions between questions and the keys that memories hold.

    An entry's code is a linear map of its memory (the keys of some levels, not rotated; with `residual` injection the
    states); a question token's code is a linear map of the decoder's state at some layer, read without memory in
    front. Codes have several parts of length 1, each from maps of its own: what one of them overlooks another may
    find. Trained with a contrastive loss, see `rcc_integrations.training.routing_trainer`.

    Args:
        levels: The memory levels that codes are made of, ascending.
        question_levels: The decoder layers whose inputs question tokens are mapped from, ascending.
        memory_width: Components of an entry of one level.
        hidden: Width of the decoder's states.
        width: Components of a code: bytes of an entry in the index.
        parts: Parts of a code.

    Raises:
        ConfigError: If a number is out of its range.
    """

    mixture: Tensor

    def __init__(
        self,
        levels: Sequence[int],
        question_levels: Sequence[int],
        memory_width: int,
        hidden: int,
        width: int = 96,
        parts: int = 2,
    ) -> None:
        super().__init__()
        self.levels, self.question_levels = tuple(levels), tuple(question_levels)
        for name, given in (("levels", self.levels), ("question_levels", self.question_levels)):
            if not given or sorted(set(given)) != list(given) or given[0] < 0:
                raise ConfigError(f"{name} of a routing head must be ascending numbers from 0; they are {given}.")
        if parts < 1 or width < 1 or width % parts:
            raise ConfigError(f"A routing code of {width!r} components cannot have {parts!r} equal parts.")
        self.width, self.parts = width, parts
        self.key = nn.Linear(len(self.levels) * memory_width, width)
        self.question = nn.Linear(len(self.question_levels) * hidden, width)
        self.weight = nn.Linear(len(self.question_levels) * hidden, parts)
        self.register_buffer("mixture", torch.tensor([1.0, 0.0, 0.0, 0.0]))

    @classmethod
    def of(
        cls, spec: MemorySpec, levels: Sequence[int], question_levels: Sequence[int], width: int = 96, parts: int = 2
    ) -> RoutingHead:
        """Return an untrained head for a model's memories.

        Args:
            spec: Of the memories.
            levels: As in the constructor.
            question_levels: As in the constructor.
            width: As in the constructor.
            parts: As in the constructor.
        """
        memory_width = spec.hidden if spec.config.injection == "residual" else spec.heads * spec.width
        return cls(levels, question_levels, memory_width, spec.hidden, width, parts)

    @property
    def id(self) -> str:
        """Hash over everything that codes of windows depend on, 32 hex digits."""
        settings = json.dumps([FORMAT, self.levels, self.width, self.parts, SCALE])
        maps = weights_digest((name, tensor) for name, tensor in self.key.named_parameters())
        return hashlib.blake2b(f"{settings}:{maps}".encode(), digest_size=16).hexdigest()

    def fits(self, layout: SlotLayout) -> bool:
        """Return whether memories of a layout have all levels that codes are made of."""
        return set(self.levels) <= set(layout.levels)

    def features(self, memory: Memory, layout: SlotLayout) -> Tensor:
        """Return what an entry's code is made of, shape (entries, levels · memory width), float32.

        Args:
            memory: Of one window, as `RCCModel.compress` returns it or as it comes from a store.
            layout: Of the memory.

        Raises:
            ConfigError: If the memory lacks a level.
        """
        if not self.fits(layout):
            raise ConfigError(
                f"Memories at ratio {layout.ratio} hold levels {list(layout.levels)}; this routing head reads "
                f"{list(self.levels)}."
            )
        chosen = [layout.levels.index(level) for level in self.levels]
        if "state" in memory:
            return memory["state"][chosen].transpose(0, 1).flatten(1).float()
        return memory["key"][chosen].permute(2, 0, 1, 3).flatten(1).float()

    def entry_codes(self, features: Tensor) -> Tensor:
        """Return codes whose parts have length 1, shape (entries, parts, width of a part)."""
        return functional.normalize(self.key(features).unflatten(-1, (self.parts, -1)), dim=-1)

    def question_codes(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes whose parts have length 1, and how much each token says in each part, above 0.

        Args:
            states: The decoder's states at a question's tokens, shape (tokens, question levels · hidden).

        Returns:
            Codes of shape (tokens, parts, width of a part), weights of shape (tokens, parts).
        """
        states = states.float()
        codes = functional.normalize(self.question(states).unflatten(-1, (self.parts, -1)), dim=-1)
        return codes, functional.softplus(self.weight(states))

    def stored(self, memory: Memory, layout: SlotLayout) -> np.ndarray:
        """Return the codes of a memory as they are stored: int8, shape (entries, width)."""
        return self.quantised(self.features(memory, layout))

    def quantised(self, features: Tensor) -> np.ndarray:
        """Return codes as they are stored; see `stored`."""
        with torch.no_grad():
            codes = self.entry_codes(features.to(self.key.weight.device).float()).flatten(1)
            quantised: np.ndarray = (codes * SCALE).round().to("cpu", torch.int8).numpy()
        return quantised

    def asked(self, states: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return a question as it is compared with stored codes.

        Args:
            states: As in `question_codes`.

        Returns:
            Codes in units of the stored ones, shape (tokens · parts, width), float32: each part of a token stands
            alone, the others 0; and weights of sum 1, shape (tokens · parts,).
        """
        with torch.no_grad():
            codes, weights = self.question_codes(states.to(self.key.weight.device))
            alone = torch.einsum("tpc,pq->tpqc", codes, torch.eye(self.parts, device=codes.device))
            shares = weights / weights.sum(0) / self.parts
            return (alone.flatten(2).flatten(0, 1) / SCALE).cpu().numpy(), shares.flatten().cpu().numpy()


def save_heads(folder: Path, heads: Sequence[RoutingHead]) -> None:
    """Write routing heads into a model's folder; those that were there are replaced.

    Args:
        folder: The folder.
        heads: The heads; without any, the file is removed.
    """
    if not heads:
        (folder / FILE).unlink(missing_ok=True)
        return
    tensors = {f"{number}.{name}": tensor.detach().cpu().contiguous()
               for number, head in enumerate(heads) for name, tensor in head.state_dict().items()}  # fmt: skip
    settings = [{"levels": head.levels, "question_levels": head.question_levels, "parts": head.parts} for head in heads]
    fresh = folder / f"{FILE}.tmp"
    save_file(tensors, fresh, {"format": str(FORMAT), "heads": json.dumps(settings)})
    os.replace(fresh, folder / FILE)


def load_heads(folder: Path, spec: MemorySpec) -> list[RoutingHead]:
    """Read the routing heads of a model's folder.

    Args:
        folder: The folder.
        spec: Of the model's memories.

    Returns:
        The heads; none if the folder has none, or has them in another format: windows are then found by words.

    Raises:
        ModelError: If the file does not fit the model.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        with safe_open(path, "pt") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != str(FORMAT):
                return []
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        heads = []
        for number, settings in enumerate(json.loads(metadata["heads"])):
            own = {name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{number}.")}
            of_memory, of_question = (_levels(settings[name], spec.levels) for name in ("levels", "question_levels"))
            head = RoutingHead.of(spec, of_memory, of_question, len(own["key.weight"]), int(settings["parts"]))
            head.load_state_dict(own)
            check_finite(head.state_dict(), str(path))
            heads.append(head.eval().requires_grad_(False))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{path} does not hold routing heads of this model: {error}") from error
    return heads


def _levels(levels: object, most: int) -> list[int]:
    if not isinstance(levels, list) or not all(type(level) is int and 0 <= level < most for level in levels):
        raise ValueError(f"levels must be a list of numbers from 0 to {most - 1}: {levels!r:.80}")
    return levels
