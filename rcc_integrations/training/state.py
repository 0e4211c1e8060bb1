"""The state of a run on disk: weights, the optimizer's moments and how far it came; safetensors and JSON."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from rcc_integrations.errors import ConfigError, TrainingError
from rcc_integrations.training.log import Progress
from rcc_integrations.training.settings import differences

_MOMENTS = ("exp_avg", "exp_avg_sq")


def check_output(output: Path) -> None:
    """Check that a run can be kept in a folder, before hours are spent on it.

    Args:
        output: Folder of the run; need not exist.

    Raises:
        ConfigError: If it is a file, or its `model` holds something else than a model.
    """
    if output.exists() and not output.is_dir():
        raise ConfigError(f"{output} is a file; name a folder for the run.")
    model = output / "model"
    empty = model.is_dir() and not any(model.iterdir())
    if model.exists() and not (model / "rcc_config.json").exists() and not empty:
        raise ConfigError(f"{model} holds other files than an RCC model; name another folder for the run.")


def drop_state(output: Path) -> None:
    """Remove the state of a run, so that nothing goes on from it.

    Args:
        output: Folder of the run.
    """
    for name in ("state", "state.old", "state.writing"):
        shutil.rmtree(output / name, ignore_errors=True)


def save_state(
    output: Path,
    weights: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    settings: dict[str, Any],
) -> None:
    """Write the state beside the one before, then put it in its place.

    Args:
        output: Folder of the run.
        weights: What is trained, by name.
        optimizer: An AdamW over these weights, one group each.
        progress: How far the run is.
        settings: Of the run, as JSON values.
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
    (fresh / "settings.json").write_text(json.dumps(settings, indent=1), "utf-8")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def load_state(
    output: Path, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, settings: dict[str, Any]
) -> Progress | None:
    """Read the state of a run into its weights and optimizer.

    Args:
        output: Folder of the run.
        weights: What is trained, by name.
        optimizer: As in `save_state`.
        settings: Of the run that is to go on.

    Returns:
        How far the run was; `None` if there is no state.

    Raises:
        ConfigError: If the state is of a run with other settings, or there is a model but no state.
        TrainingError: If the state is of other weights or cannot be read.
    """
    place = next((output / name for name in ("state", "state.old") if (output / name).is_dir()), None)
    if place is None:
        if (output / "model").exists():
            raise ConfigError(
                f"{output} holds a model but no state to go on from. Name another folder, go on from the model as a "
                "start (command line: --start), or replace it (--fresh)."
            )
        return None
    try:
        saved = json.loads((place / "settings.json").read_text("utf-8"))
        if changed := differences(saved, settings):
            raise ConfigError(
                f"{output} holds a run with other settings: {'; '.join(changed)}. Give the same to go on, name another "
                "folder, or start anew (command line: --fresh)."
            )
        tensors = load_file(place / "tensors.safetensors")
        progress = json.loads((place / "progress.json").read_text("utf-8"))
        steps = progress.pop("steps")
        found = Progress(**progress)
    except ConfigError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
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
