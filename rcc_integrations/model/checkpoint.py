"""Loading and saving RCC models: safetensors and JSON, nothing that could execute."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import psutil
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from rcc_integrations.config import RCCConfig
from rcc_integrations.errors import ConfigError, ModelError, ModelNotFoundError
from rcc_integrations.model import packaged
from rcc_integrations.model.adapters import Adapter
from rcc_integrations.model.cache import attention_reach
from rcc_integrations.model.family import Family
from rcc_integrations.model.folder import check_files, check_finite
from rcc_integrations.model.memory_spec import MemorySpec
from rcc_integrations.model.parts import Parts
from rcc_integrations.model.projection import LevelProjections
from rcc_integrations.model.routing_head import RoutingHead, load_heads, save_heads
from rcc_integrations.model.runtime import Runtime, apply_template, load_base, load_tokenizer, quiet

#: The model that comes with the package: RCC-SmolLM2-135M.
DEFAULT = Path(__file__).parent / "default"

#: Positions that `from_base` leaves for a question and its answer when no window is given.
_QUESTION_ROOM = 512


def load(
    name: str | Path,
    *,
    base: str | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    attn: str | None = None,
    merge: bool | None = None,
) -> tuple[RCCConfig, Parts]:
    """Load a saved model; see `RCCModel.from_pretrained`."""
    folder = _folder(name)
    check_files(folder)
    config = RCCConfig.load(folder)
    runtime = Runtime.choose(device, dtype, attn)
    base_digest = None
    if base is None and (folder / "base").is_dir():
        base = folder / "base"
    if base is None and config.base == packaged.NAME:
        found = packaged.locate()
        base, base_digest = found.folder, found.digest
    source = base or _named_base(config.base, folder)
    model, tokenizer = load_base(source, runtime), load_tokenizer(source)
    if base_digest is None:
        check_finite(model.named_parameters(), str(source))
    encoder_base = load_base(folder / "encoder_base", runtime) if (folder / "encoder_base").is_dir() else None
    if encoder_base is not None:
        check_finite(encoder_base.named_parameters(), str(folder / "encoder_base"))
    encoder_adapter, decoder_adapter = Adapter.load(folder / "encoder"), Adapter.load(folder / "decoder")
    projections = _projections(config, model, folder / "projections.safetensors")
    if merge is None:
        # Merging takes at most one more copy of the weights; leave twice that free.
        extra = sum(tensor.nbytes for tensor in model.parameters())
        merge = runtime.device.type == "cuda" or psutil.virtual_memory().available > 3 * extra
    body = Family.of(encoder_base or model).body
    if encoder_adapter is not None:
        encoder_adapter.check(body)

    def make_encoder() -> nn.Module:
        return encoder_adapter.on(body, merge=merge) if encoder_adapter else body

    return config, Parts(
        tokenizer=tokenizer,
        base=model,
        make_encoder=make_encoder,
        decoder=decoder_adapter.on(model, merge=merge) if decoder_adapter else model,
        projections=projections,
        encoder_adapter=encoder_adapter,
        decoder_adapter=decoder_adapter,
        encoder_base=encoder_base,
        named_base=not (folder / "base").is_dir(),
        base_digest=base_digest,
        routing=_routing(folder, config, model),
    )


def from_base(
    base: str | Path | PreTrainedModel,
    *,
    tokenizer: Any = None,
    device: str | None = None,
    dtype: str | None = None,
    attn: str | None = None,
    **settings: Any,
) -> tuple[RCCConfig, Parts]:
    """Use a causal LM without adapters; see `RCCModel.from_base`."""
    named = not isinstance(base, nn.Module)
    base_digest = None
    if named:
        if str(base) == packaged.NAME:
            found = packaged.locate()
            source, base_digest = found.folder, found.digest
        else:
            # What is saved names this base: a folder has to be found from elsewhere too.
            source = base = Path(str(base)).resolve() if os.path.isdir(str(base)) else base  # type: ignore[assignment]
        model = load_base(source, Runtime.choose(device, dtype, attn))
        tokenizer = tokenizer or load_tokenizer(source)
        if base_digest is None:
            check_finite(model.named_parameters(), str(source))
    else:
        model = base  # type: ignore[assignment]
        if tokenizer is None:
            raise ConfigError("A model that is already loaded needs its tokenizer: pass tokenizer=.")
        model.train(False).requires_grad_(False)
    reach = attention_reach(model.config)
    settings.setdefault("window", max(reach - _QUESTION_ROOM, reach // 2))
    settings.setdefault("ratio", 1)
    settings.setdefault("placement", "last" if settings.get("injection") == "residual" else "staggered")
    if "question_template" not in settings:
        settings |= _chat_layout(tokenizer)
    name = str(base) if named else str(getattr(model.config, "name_or_path", "") or model.config.model_type)
    try:
        config = RCCConfig(base=name, **settings)
    except TypeError as error:
        raise ConfigError(f"from_base got a setting that it does not know: {error}.") from error
    projections = _projections(config, model, None)
    parts = Parts(
        tokenizer=tokenizer,
        base=model,
        make_encoder=lambda: Family.of(model).body,
        decoder=model,
        projections=projections,
        named_base=named,
        base_digest=base_digest,
    )
    return config, parts


def save(folder: Path, config: RCCConfig, parts: Parts) -> None:
    """Write a model; see `RCCModel.save_pretrained`. A folder that is there already is replaced as a whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = folder.with_name(folder.name + ".writing")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    (fresh / "rcc_config.json").write_text(config.to_json(), encoding="utf-8")
    for name, adapter in (("encoder", parts.encoder_adapter), ("decoder", parts.decoder_adapter)):
        if adapter is not None:
            adapter.save(fresh / name)
    tensors = {name: tensor.detach().contiguous() for name, tensor in parts.projections.state_dict().items()}
    if tensors:
        save_file(tensors, fresh / "projections.safetensors")
    save_heads(fresh, parts.routing)
    with quiet():
        if parts.encoder_base is not None:
            parts.encoder_base.save_pretrained(fresh / "encoder_base")
        if not parts.named_base:
            parts.base.save_pretrained(fresh / "base")
            parts.tokenizer.save_pretrained(fresh / "base")
    if folder.exists():
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "rcc_config.json").exists():
            shutil.rmtree(fresh)
            raise ModelError(f"{folder} holds other files than an RCC model; it is left alone. Name another folder.")
        shutil.rmtree(folder)
    fresh.rename(folder)


def _folder(name: str | Path) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if isinstance(name, Path) or name.count("/") != 1 or name.startswith((".", "~")):
        raise ModelNotFoundError(f"There is no folder {str(name)!r} with a saved RCC model.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        found = snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "*.md"])
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise ModelNotFoundError(
            f"{name!r} is no folder here and could not be fetched from the hub: {error}"
        ) from error
    return Path(found)


def _named_base(base: str, folder: Path) -> str:
    """Return the base that a config names, if it is to be found in the same place from everywhere.

    Raises:
        ModelError: It is a path that depends on where one is.
    """
    if not Path(base).is_absolute() and (".." in Path(base).parts or os.path.isdir(base)):
        raise ModelError(
            f"{folder} names the folder {base!r} as its base, which is another one from everywhere: pass base= with "
            "the folder that is meant."
        )
    return base


def _projections(config: RCCConfig, model: PreTrainedModel, path: Path | None) -> LevelProjections:
    settings = model.config.get_text_config(decoder=True)
    levels, hidden = int(settings.num_hidden_layers), int(settings.hidden_size)
    tensors: dict[str, Tensor] | None = None
    if path is not None and config.projection != "identity":
        try:
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} does not hold the projections of this model: {error}") from error
        # Before memory is set aside for a rank that may be beyond all bounds.
        if config.projection_rank and not any(config.projection_rank in each.shape for each in tensors.values()):
            raise ModelError(f"{path} has no tensors of the projection_rank {config.projection_rank}.")
    projections = LevelProjections(config.projection, levels, hidden, config.projection_rank)
    if tensors is not None:
        try:
            projections.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(f"{path} does not hold the projections of this model: {error}") from error
        check_finite(projections.state_dict(), str(path))
    return projections.to(device=model.device, dtype=model.dtype).eval().requires_grad_(False)


def _routing(folder: Path, config: RCCConfig, model: PreTrainedModel) -> tuple[RoutingHead, ...]:
    settings = model.config.get_text_config(decoder=True)
    spec = MemorySpec.of(config, int(settings.num_hidden_layers), model.config)
    return tuple(head.to(model.device) for head in load_heads(folder, spec))


def _chat_layout(tokenizer: Any) -> dict[str, str]:
    """Find the texts that the tokenizer's chat template puts around a user's message."""
    memory, question = "<<memory>>", "<<question>>"
    if not getattr(tokenizer, "chat_template", None):
        return {}
    text = apply_template(tokenizer, [{"role": "user", "content": f"{memory}\n{question}"}], add_generation_prompt=True)
    if text.count(memory) != 1 or text.count(question) != 1 or text.index(memory) > text.index(question):
        return {}
    before, rest = text.split(memory)
    middle, after = rest.split(question)
    return {"prefix_text": before, "question_template": f"{middle}{{question}}{after}"}
