"""Reading windows: one pass of the encoder, of which only the states at the slots are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from rcc_integrations.model.family import Family


class _EnoughError(Exception):
    """Ends the encoder's pass once its last wanted level is known."""


def encode_slots(
    family: Family, ids: Tensor, sources: Tensor, levels: Sequence[int], *, final_level: bool = False, **inputs: Any
) -> Tensor:
    """Return the encoder's states at the slots of a batch of windows.

    Level l is the input of layer l, so level 0 is the token's embedding. The pass ends at the highest wanted level,
    and the output head is never run. Windows are padded on the right, where a causal model does not look.

    Args:
        family: Parts of the encoder.
        ids: Token ids, shape (batch, tokens).
        sources: The token that each entry is taken from, shape (batch, levels, entries).
        levels: The wanted levels, ascending.
        final_level: Also return the level above the last layer, after the final norm, as released RCC does.
        **inputs: Further inputs of the body, such as masks for windows that share a row.

    Returns:
        States of shape (levels, batch, entries, hidden), one level more with `final_level` (taken where the level
        before it is).
    """
    found: list[Tensor] = []
    number = {level: place for place, level in enumerate(levels)}

    def keep(level: int, hidden: Tensor) -> None:
        if level not in number:
            return
        where = sources[:, number[level], :, None].expand(-1, -1, hidden.shape[-1])
        found.append(hidden.gather(1, where))
        if level == levels[-1] and not final_level:
            raise _EnoughError

    with _layer_inputs(family.layers, keep):
        try:
            output = family.body(input_ids=ids, use_cache=False, **inputs)
            number[len(family.layers)] = len(levels) - 1
            keep(len(family.layers), output.last_hidden_state)
        except _EnoughError:
            pass
    return torch.stack(found)


@contextmanager
def _layer_inputs(layers: nn.ModuleList, keep: Callable[[int, Tensor], None]) -> Iterator[None]:
    def hook(level: int) -> Callable[..., None]:
        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            keep(level, args[0] if args else kwargs["hidden_states"])

        return before

    handles = [layer.register_forward_pre_hook(hook(level), with_kwargs=True) for level, layer in enumerate(layers)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
