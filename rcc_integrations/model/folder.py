"""Looks at the folder of a model before anything loads it, as it may come from a stranger."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rcc_integrations.errors import ModelError, ModelNotFoundError

#: The most bytes of a file that is read as a whole: settings, vocabularies, templates.
MAX_FILE = 1 << 26
#: The most files and folders of a model.
MAX_ENTRIES = 10_000

_READ_WHOLE = {".json", ".jinja", ".txt", ".model"}
# Keys of tokenizer_config.json through which a tokenizer would read other files than its own, or run code.
_TOKENIZER_FILES = ("vocab_file", "merges_file", "tokenizer_file", "spm_file", "source_spm", "target_spm")
_HEADS = ("num_attention_heads", "num_key_value_heads")
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


def check_files(folder: Path) -> None:
    """Refuse a folder with links that lead out of it, pipes, devices, or files too large for what they are.

    Files of the hub's cache are links into its `blobs` folder; those are followed.

    Args:
        folder: The folder, existing.

    Raises:
        ModelError: Something is there that is no part of a model; the message names it.
    """
    root = folder.resolve()
    inside = [root]
    if root.parent.name == "snapshots":
        inside.append(root.parent.parent / "blobs")
    for number, entry in enumerate(_entries(root)):
        if number >= MAX_ENTRIES:
            raise ModelError(f"{folder} holds more than {MAX_ENTRIES:,} files; it is no folder of a model.")
        path = Path(entry.path)
        target = path.resolve() if entry.is_symlink() else path
        if not any(target.is_relative_to(place) for place in inside):
            raise ModelError(f"{path} is a link that leads out of the folder and is not followed: copy the file there.")
        try:
            status = target.lstat()
        except OSError as error:
            raise ModelError(f"{path} cannot be read: {error.strerror}.") from error
        if stat.S_ISREG(status.st_mode):
            if path.suffix in _READ_WHOLE and status.st_size > MAX_FILE:
                raise ModelError(f"{path} has {status.st_size:,} bytes, more than {MAX_FILE:,}, and is not read.")
        elif not stat.S_ISDIR(status.st_mode) or entry.is_symlink():
            raise ModelError(f"{path} is not a plain file and is not opened. Remove it.")


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        ModelNotFoundError: There is no such file.
        ModelError: It holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"There is no {path.name} in {path.parent}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object; it holds {type(value).__name__}.")
    return value


def check_base(folder: Path, *, in_ram: bool) -> None:
    """Refuse a base model whose settings ask for more than its weights hold, before memory is set aside for it.

    Args:
        folder: Folder of the base in the form of transformers.
        in_ram: Whether its weights must fit into this machine's memory.

    Raises:
        ModelNotFoundError: It has no config, or no weights as safetensors.
        ModelError: The sizes cannot be, or a file leads out of the folder.
    """
    check_files(folder)
    config = read_json(folder / "config.json")
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelNotFoundError(
            f"No model could be loaded from {str(folder)!r}: it has no weights as safetensors; no others are read."
        )
    size = sum(file.stat().st_size for file in files)
    machine = psutil.virtual_memory().total + psutil.swap_memory().total
    if in_ram and size > machine:
        raise ModelError(f"The weights in {folder} have {size:,} bytes; this machine has {machine:,} of memory.")
    tensors = sum(len(_names(file)) for file in files)
    text = config.get("text_config")
    _check_sizes(text if isinstance(text, dict) else config, folder, size, tensors)


def check_tokenizer(folder: Path) -> None:
    """Refuse a tokenizer whose settings name files elsewhere or arguments that no tokenizer of ours has.

    Args:
        folder: Folder of the tokenizer.

    Raises:
        ModelError: They do.
    """
    check_files(folder)
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.exists() else {}
    for key in _TOKENIZER_FILES:
        value = config.get(key)
        if isinstance(value, str) and ("/" in value or "\\" in value):
            raise ModelError(f"{path} names the file {value!r} as {key}: it is not read. Remove the setting.")
    if config.get("init_inputs") or config.get("auto_map"):
        raise ModelError(f"{path} asks for code or arguments of its own (auto_map, init_inputs); neither is taken.")


def check_finite(tensors: Mapping[str, Tensor] | Iterator[tuple[str, Tensor]], where: str) -> None:
    """Refuse weights that are NaN or infinite.

    Args:
        tensors: By name, or pairs.
        where: What to call them in an error.

    Raises:
        ModelError: One is.
    """
    for name, tensor in tensors.items() if isinstance(tensors, Mapping) else tensors:
        # A sum reads the tensor once and makes no copy; one of large numbers may overflow without any of them infinite.
        if tensor.is_floating_point() and not (
            torch.isfinite(tensor.sum(dtype=torch.float32)) or torch.isfinite(tensor).all()
        ):
            raise ModelError(f"{where} holds NaN or infinity in {name!r}: it is damaged, and nothing can come of it.")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, "pt") as opened:
            return list(opened.keys())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{file} cannot be read as safetensors: {error}") from error


def _check_sizes(config: Mapping[str, Any], folder: Path, size: int, tensors: int) -> None:
    def number(name: str) -> int:
        value = config.get(name)
        if value is not None and (type(value) is not int or not 0 <= value < 2**40):
            raise ModelError(f"config.json of {folder} has no valid {name}: {value!r:.80}.")
        return value or 0

    layers, hidden, experts = number("num_hidden_layers"), number("hidden_size"), max(map(number, _EXPERTS))
    heads = max(map(number, _HEADS)) * (number("head_dim") or 1)
    number("max_position_embeddings"), number("sliding_window")
    # A weight of a quantised model may take half a byte.
    wanted = {
        "vocab_size": number("vocab_size") * hidden,
        "hidden_size": layers * hidden * hidden,
        "intermediate_size": layers * hidden * number("intermediate_size"),
        "heads": layers * hidden * heads,
        "experts": layers * hidden * experts,
    }
    if layers > tensors:
        raise ModelError(f"config.json of {folder} tells of {layers:,} layers; its weights are {tensors:,} tensors.")
    for name, weights in wanted.items():
        if weights > 2 * size:
            raise ModelError(
                f"config.json of {folder} asks for {weights:,} weights ({name}); its safetensors have {size:,} bytes."
            )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
