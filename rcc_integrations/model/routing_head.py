"""`RoutingHead`: maps that turn memories and questions into codes, by which a question finds windows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from rcc_integrations.errors import ConfigError, ModelError
from rcc_integrations.model.folder import check_finite
from rcc_integrations.model.fingerprint import weights_digest
from rcc_integrations.model.kv import Memory
from rcc_integrations.model.slots import SlotLayout

#: Name of the file in a model's folder.
FILE = "routing.safetensors"
#: Rises when codes are made in another way: indices made before are made anew.
FORMAT = 1

#: A component of a code of length 1 is stored as int8 in units of 1/SCALE; beyond half of the length it is cut.
SCALE = 254.0
#: Weights of the scores that make a window's logit: of memory and of words, each of the window itself and of the best
#: window of its document.
MIXTURE = ("memory", "words", "memory_document", "words_document")


class RoutingHead(nn.Module):
    """A late interaction in few dimensions between questions and the keys that memories hold.

    An entry's code is a linear map of its memory (the keys of some levels, not rotated; with `residual` injection the
    states); a question token's code is a linear map of the decoder's state at some layer, read without memory in
    front. Both have length 1. Trained with a contrastive loss, see `rcc_integrations.training.routing`.

    Args:
        levels: The memory levels that codes are made of, ascending.
        question_levels: The decoder layers whose inputs question tokens are mapped from, ascending.
        memory_width: Components of an entry of one level.
        hidden: Width of the decoder's states.
        width: Components of a code: bytes an entry in the index.

    Raises:
        ConfigError: If a number is out of its range.
    """

    def __init__(
        self, levels: Sequence[int], question_levels: Sequence[int], memory_width: int, hidden: int, width: int = 48
    ) -> None:
        super().__init__()
        self.levels, self.question_levels = tuple(levels), tuple(question_levels)
        for name, given in (("levels", self.levels), ("question_levels", self.question_levels)):
            if not given or sorted(set(given)) != list(given) or given[0] < 0:
                raise ConfigError(f"{name} of a routing head must be ascending numbers from 0; they are {given}.")
        if width < 1:
            raise ConfigError(f"The width of routing codes must be at least 1; it is {width!r}.")
        self.width = width
        self.key = nn.Linear(len(self.levels) * memory_width, width)
        self.question = nn.Linear(len(self.question_levels) * hidden, width)
        self.weight = nn.Linear(len(self.question_levels) * hidden, 1)
        self.register_buffer("mixture", torch.tensor([1.0, 0.0, 0.0, 0.0]))

    @property
    def id(self) -> str:
        """Hash over everything that codes of windows depend on, 32 hex digits."""
        settings = json.dumps([FORMAT, self.levels, self.width, SCALE])
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
        """Return codes of length 1, shape (entries, width)."""
        return functional.normalize(self.key(features), dim=-1)

    def question_codes(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return codes of length 1, shape (tokens, width), and how much each token says, shape (tokens,), above 0.

        Args:
            states: The decoder's states at a question's tokens, shape (tokens, question levels · hidden).
        """
        states = states.float()
        return functional.normalize(self.question(states), dim=-1), functional.softplus(self.weight(states)[..., 0])

    def stored(self, memory: Memory, layout: SlotLayout) -> np.ndarray:
        """Return the codes of a memory as they are stored: int8, shape (entries, width)."""
        with torch.no_grad():
            codes = self.entry_codes(self.features(memory, layout).to(self.key.weight.device))
            found: np.ndarray = (codes * SCALE).round().clamp(-127, 127).to("cpu", torch.int8).numpy()
        return found

    def asked(self, states: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return a question as it is compared with stored codes: codes in units of these, and weights of sum 1."""
        with torch.no_grad():
            codes, weights = self.question_codes(states.to(self.key.weight.device))
            return (codes / SCALE).cpu().numpy(), (weights / weights.sum()).cpu().numpy()

    def save(self, folder: Path) -> None:
        """Write the head into a model's folder."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        metadata = {
            "format": str(FORMAT),
            "levels": json.dumps(self.levels),
            "question_levels": json.dumps(self.question_levels),
        }
        save_file(tensors, folder / FILE, metadata)

    @classmethod
    def load(cls, folder: Path, *, levels: int, hidden: int, memory_width: int) -> RoutingHead | None:
        """Read the head of a model's folder.

        Args:
            folder: The folder.
            levels: Layers of the decoder.
            hidden: Width of its states.
            memory_width: Components of an entry of a memory at one level.

        Returns:
            The head; `None` if the folder has none, or one of another format: windows are then found by words.

        Raises:
            ModelError: If the file does not fit the model.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as opened:
                metadata = opened.metadata() or {}
                if metadata.get("format") != str(FORMAT):
                    return None
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            of_memory, of_question = (_levels(metadata[name], levels) for name in ("levels", "question_levels"))
            head = cls(of_memory, of_question, memory_width, hidden, int(tensors["key.weight"].shape[0]))
            head.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
            raise ModelError(f"{path} does not hold a routing head of this model: {error}") from error
        check_finite(head.state_dict(), str(path))
        return head.eval().requires_grad_(False)


def _levels(text: str, most: int) -> list[int]:
    levels = json.loads(text)
    if not isinstance(levels, list) or not all(type(level) is int and 0 <= level < most for level in levels):
        raise ValueError(f"levels must be numbers from 0 to {most - 1}: {text:.80}")
    return levels


