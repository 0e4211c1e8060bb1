"""Where and how a model runs: device, number format, attention, and loading the base without remote code."""

from __future__ import annotations

import copy
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel
from transformers.utils import logging

from rcc_integrations.errors import ConfigError, ModelError, ModelNotFoundError
from rcc_integrations.model import attention
from rcc_integrations.model.folder import check_base, check_tokenizer

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_ATTENTION = ("sdpa", "eager", "flash_attention_2")

ModuleT = TypeVar("ModuleT", bound=nn.Module)


@dataclass(frozen=True)
class Runtime:
    """Device, number format and attention of a model.

    Args:
        device: Where the weights are.
        dtype: What they are held and computed in.
        attention: Name of the attention as transformers calls it.
    """

    device: torch.device
    dtype: torch.dtype
    attention: str

    @classmethod
    def choose(
        cls, device: str | torch.device | None = None, dtype: str | torch.dtype | None = None, attn: str | None = None
    ) -> Runtime:
        """Fill in what is not given: CUDA or else CPU; bfloat16 on CUDA, float32 on CPU; flash-attention 2 or SDPA.

        Args:
            device: Such as `cpu`, `cuda`, `cuda:1`.
            dtype: `float32`, `bfloat16` or `float16`, or the torch dtype.
            attn: `flash_attention_2`, `sdpa` or `eager`.

        Raises:
            ConfigError: If a value is not known or cannot be had on this machine.
        """
        cuda = torch.cuda.is_available()
        try:
            where = torch.device(device) if device is not None else torch.device("cuda" if cuda else "cpu")
        except RuntimeError as error:
            raise ConfigError(f"device {device!r} is not known: {error}") from error
        if where.type == "cuda" and not cuda:
            raise ConfigError(f"device {device!r} was asked for, but torch sees no CUDA device on this machine.")
        if isinstance(dtype, str):
            if dtype not in _DTYPES:
                raise ConfigError(f"dtype must be one of {', '.join(_DTYPES)}; it is {dtype!r}.")
            dtype = _DTYPES[dtype]
        kind = dtype or (torch.bfloat16 if where.type == "cuda" else torch.float32)
        flash = where.type == "cuda" and importlib.util.find_spec("flash_attn") is not None
        if attn is None:
            attn = "flash_attention_2" if flash and kind != torch.float32 else "sdpa"
        elif attn not in _ATTENTION:
            raise ConfigError(f"attn must be one of {', '.join(_ATTENTION)}; it is {attn!r}.")
        elif attn == "flash_attention_2" and not flash:
            raise ConfigError(
                "attn 'flash_attention_2' needs a CUDA device and the flash-attn package: "
                "pip install 'rcc-integrations[flash]', or leave attn out."
            )
        return cls(where, kind, attn)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from drawing progress bars and from reporting what our own errors say better."""
    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def load_base(base: str | Path, runtime: Runtime, **options: Any) -> PreTrainedModel:
    """Load a causal LM from a folder or a hub id, from safetensors only and without running its code.

    Args:
        base: Folder or hub id.
        runtime: Where and how.
        **options: Further options of `from_pretrained`.

    Raises:
        ModelNotFoundError: If there is no such model.
        ModelError: If it cannot be loaded, lacks weights, or asks for more than its files hold.
    """
    if os.path.isdir(base):
        check_base(Path(base), in_ram=runtime.device.type == "cpu")
    load: Any = AutoModelForCausalLM.from_pretrained
    try:
        with quiet():
            model, report = load(
                str(base),
                dtype=runtime.dtype,
                attn_implementation=runtime.attention,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
                **options,
            )
    except OSError as error:
        raise ModelNotFoundError(f"No model could be loaded from {str(base)!r}: {error}") from error
    except Exception as error:
        # What transformers raises over settings that make no sense is whatever they led it into.
        raise ModelError(f"The model in {str(base)!r} cannot be used: {error!r}") from error
    if missing := sorted(report["missing_keys"]):
        raise ModelError(f"The weights in {str(base)!r} lack {len(missing)} tensors, such as {missing[0]!r}.")
    loaded: PreTrainedModel = model.to(runtime.device).eval().requires_grad_(False)
    # The base's own sampling defaults must not leak into ours.
    loaded.generation_config = GenerationConfig(eos_token_id=loaded.generation_config.eos_token_id)
    if runtime.attention == "sdpa":
        loaded.set_attn_implementation(attention.NAME)
    return loaded


def load_tokenizer(base: str | Path, **options: Any) -> Any:
    """Load the tokenizer of a folder or hub id; only fast ones tell which characters a token stands for.

    Raises:
        ModelNotFoundError: If there is none.
        ModelError: If it is not a fast tokenizer, or not a usable one.
    """
    if os.path.isdir(base):
        check_tokenizer(Path(base))
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(base), trust_remote_code=False, **options)
        tokenizer("A word.", add_special_tokens=False, split_special_tokens=True, verbose=False)
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFoundError(f"No tokenizer could be loaded from {str(base)!r}: {error}") from error
    except Exception as error:
        raise ModelError(f"The tokenizer in {str(base)!r} cannot be used: {error!r}") from error
    if not tokenizer.is_fast:
        raise ModelError(f"The tokenizer of {str(base)!r} is not a fast one, so spans of text cannot be told.")
    return tokenizer


def apply_template(tokenizer: Any, messages: list[dict[str, str]], **options: Any) -> str:
    """Return a conversation in the tokenizer's chat template, as text.

    The template runs in Jinja's sandbox: it reaches no files and no objects of Python, but may take long.

    Args:
        tokenizer: With a chat template.
        messages: Roles and contents.
        **options: Further options of `apply_chat_template`.

    Raises:
        ModelError: The template fails.
    """
    try:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except Exception as error:
        raise ModelError(f"The tokenizer's chat template cannot be applied: {error!r}") from error
    return text


def shared_copy(module: ModuleT) -> ModuleT:
    """Return a copy of a module that has hooks and submodules of its own, but the very same weights in memory."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in module.parameters()}
    memo |= {id(tensor): tensor for tensor in module.buffers()}
    return copy.deepcopy(module, memo)
