"""`MemorySpec`: the shape of a model's memories and of its cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rcc_integrations.config import RCCConfig
from rcc_integrations.errors import ConfigError
from rcc_integrations.model.cache import attention_window
from rcc_integrations.model.slots import SlotLayout


@dataclass(frozen=True)
class MemorySpec:
    """What the memories of a model look like.

    Args:
        config: The model's settings.
        levels: Levels of a memory, one for each decoder layer.
        hidden: Width of the decoder's states.
        heads: Key/value heads of a decoder layer.
        width: Width of a head.
    """

    config: RCCConfig
    levels: int
    hidden: int
    heads: int
    width: int

    @classmethod
    def of(cls, config: RCCConfig, levels: int, decoder_config: Any) -> MemorySpec:
        """Return the shapes of a model's memories.

        Args:
            config: The model's settings.
            levels: How many layers the decoder has.
            decoder_config: The decoder's settings, of transformers.

        Raises:
            ConfigError: If the settings cannot be used with such a decoder.
        """
        if config.placement == "focused":
            if len(config.layers) != levels:
                raise ConfigError(f"layers names {len(config.layers)} layers; {config.base!r} has {levels}.")
            if attention_window(decoder_config) is not None:
                raise ConfigError(
                    f"{config.base!r} attends within a sliding window, which counts entries, and focused memory has "
                    "several a position: use staggered placement."
                )
        settings = decoder_config.get_text_config(decoder=True)
        heads = int(settings.num_attention_heads)
        width = int(getattr(settings, "head_dim", None) or settings.hidden_size // heads)
        kv_heads = int(getattr(settings, "num_key_value_heads", None) or heads)
        return cls(config, levels, int(settings.hidden_size), kv_heads, width)

    def layout(self, ratio: int) -> SlotLayout:
        """Return what a memory holds at a ratio."""
        return SlotLayout.of(self.config, self.levels, ratio)

    def shapes(self, ratio: int) -> dict[str, tuple[int, ...]]:
        """Return a memory's tensors by name, their shapes without the entries, which are the axis before the last."""
        if self.config.injection == "residual":
            return {"state": (self.levels, self.hidden)}
        shape = (len(self.layout(ratio).levels), self.heads, self.width)
        return {"key": shape, "value": shape}

    def check_ratio(self, ratio: int | None = None, *, untrained: bool = False) -> int:
        """Return the ratio to use; see `RCCModel.check_ratio`."""
        config = self.config
        ratio = config.ratio if ratio is None else ratio
        if not isinstance(ratio, int) or isinstance(ratio, bool) or not 1 <= ratio <= config.window:
            raise ConfigError(f"ratio must be a whole number from 1 to the window of {config.window}: {ratio!r}.")
        self.layout(ratio)
        exact = ratio == 1 and config.injection == "kv"
        if ratio in config.ratios or exact or untrained:
            return ratio
        trained = ", ".join(map(str, config.ratios)) or "none"
        raise ConfigError(
            f"Ratio {ratio} is not one that {config.base!r} has an adapter for (trained ratios: {trained}"
            f"{'; 1 is exact without training' if config.injection == 'kv' else ''}). "
            "To use it all the same, pass untrained=True (command line: --untrained)."
        )
