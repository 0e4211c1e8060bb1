"""The state of a run on disk: weights, the optimizer's moments and how far it came; safetensors and JSON."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from rcc_integrations.errors import TrainingError
from rcc_integrations.training.log import Progress

_MOMENTS = ("exp_avg", "exp_avg_sq")


def save_state(
    output: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write the state beside the one before, then put it in its place.

    Args:
        output: Folder of the run.
        weights: What is trained, by name.
        optimizer: An AdamW over these weights, one group each.
        progress: How far the run is.
    """
    fresh, place, old = output / "state.writing", output / "state", output / "state.old"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    tensors = {f"weight:{name}": weight.detach().cpu().contiguous() for name, weight in weights.items()}
    steps = {}
    for name, weight in weights.items():
        held = optimizer.state.get(weight)
        if held:
            tensors |= {f"{moment}:{name}": held[moment].detach().cpu().contiguous() for moment in _MOMENTS}
            steps[name] = float(held["step"])
    save_file(tensors, fresh / "tensors.safetensors")
    (fresh / "progress.json").write_text(json.dumps({**dataclasses.asdict(progress), "steps": steps}), "utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def load_state(
    output: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> Progress | None:
    """Read the state of a run into its weights and optimizer.

    Args:
        output: Folder of the run.
        weights: What is trained, by name.
        optimizer: As in `save_state`.

    Returns:
        How far the run was; `None` if there is no state.

    Raises:
        TrainingError: If the state is of other weights or cannot be read.
    """
    place = next((output / name for name in ("state", "state.old") if (output / name).is_dir()), None)
    if place is None:
        return None
    try:
        tensors = load_file(place / "tensors.safetensors")
        progress = json.loads((place / "progress.json").read_text("utf-8"))
        steps = progress.pop("steps")
        found = Progress(**progress)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise TrainingError(f"The state in {place} cannot be read: {error}. Start anew with --fresh.") from error
    shapes = {name: tuple(tensors[f"weight:{name}"].shape) for name in weights if f"weight:{name}" in tensors}
    if shapes != {name: tuple(weight.shape) for name, weight in weights.items()}:
        raise TrainingError(f"The state in {place} is of a run with other adapters. Start anew with --fresh.")
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(tensors[f"weight:{name}"])
            if name in steps:
                moments = {moment: tensors[f"{moment}:{name}"].to(weight.device) for moment in _MOMENTS}
                optimizer.state[weight] = {"step": torch.tensor(steps[name]), **moments}
    return found
