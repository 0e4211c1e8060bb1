"""Checkpoints in the layout of the released RCC-Pythia-1.4b (WUHU-G/RCC_Transformer, arXiv 2406.06110).

The layout: `gpt_neox.*` and `embed_out.weight` are the decoder, `gpt_neox.rcc_encoder.*` is the encoder (a whole
causal LM), `gpt_neox.rcc_encoder2gpt_embed` maps level 0, `gpt_neox.rcc_encoder2gpt_A_matrix.i` maps level i + 1.
The last of these acts behind the last attention and changes nothing, so it is not used; neither is
`gpt_neox.embed_out`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from rcc_integrations.config import RCCConfig
from rcc_integrations.errors import ModelError, ModelNotFoundError
from rcc_integrations.model.family import Family
from rcc_integrations.model.folder import check_files, check_finite
from rcc_integrations.model.parts import Parts
from rcc_integrations.model.projection import LevelProjections
from rcc_integrations.model.runtime import Runtime, load_tokenizer, quiet

_ENCODER = "gpt_neox.rcc_encoder."
_EMBED = "gpt_neox.rcc_encoder2gpt_embed.weight"
_MATRIX = "gpt_neox.rcc_encoder2gpt_A_matrix."
_UNUSED = "gpt_neox.embed_out.weight"
#: The prompt of the released example; the decoder goes on with the end of the turn and the assistant's.
_PROMPT = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{question}"


def load_published(
    weights: str | Path,
    base: str | Path,
    *,
    tokenizer: Any = None,
    ratio: int = 32,
    window: int = 2048,
    device: str | None = None,
    dtype: str | None = None,
    attn: str | None = None,
) -> tuple[RCCConfig, Parts]:
    """Load a released checkpoint; see `RCCModel.from_published`."""
    runtime = Runtime.choose(device, dtype, attn)
    tensors = _read(Path(weights))
    if os.path.isdir(base):
        check_files(Path(base))
    try:
        settings = AutoConfig.from_pretrained(str(base), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(f"No config of the base model in {str(base)!r}: {error}") from error
    except Exception as error:
        raise ModelError(f"The config of the base model in {str(base)!r} cannot be used: {error!r}") from error
    levels, hidden = settings.num_hidden_layers, settings.hidden_size
    if levels > len(tensors):
        raise ModelError(f"The base in {str(base)!r} has {levels:,} layers; {weights} holds {len(tensors):,} tensors.")
    encoder = {name[len(_ENCODER) :]: tensor for name, tensor in tensors.items() if name.startswith(_ENCODER)}
    maps = {name: tensors.get(name) for name in [_EMBED, *(f"{_MATRIX}{level}.weight" for level in range(levels - 1))]}
    if missing := [name for name, tensor in maps.items() if tensor is None]:
        raise ModelError(f"{weights} is not in the released RCC layout: {missing[0]!r} is missing.")
    aside = (_ENCODER, _EMBED, _MATRIX, _UNUSED)
    decoder = {name: tensor for name, tensor in tensors.items() if not name.startswith(aside)}
    projections = LevelProjections("linear", levels, hidden)
    state = {f"level.{level}.weight": tensor for level, tensor in enumerate(maps.values())}
    decoder_model = _fill(settings, decoder, runtime, "decoder")
    encoder_model = _fill(settings, encoder, runtime, "encoder")
    try:
        projections.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"The projections in {weights} do not fit the base in {str(base)!r}: {error}") from error
    config = RCCConfig(
        base=str(base),
        injection="residual",
        placement="last",
        ratio=ratio,
        ratios=(ratio,),
        window=window,
        projection="linear",
        filling="published",
        question_template=_PROMPT,
        answer_marker="assistant\n",
        stop=("<|im_end|>",),
    )
    return config, Parts(
        tokenizer=tokenizer or load_tokenizer(base),
        base=decoder_model,
        make_encoder=lambda: Family.of(encoder_model).body,
        decoder=decoder_model,
        projections=projections.to(runtime.device, runtime.dtype).eval().requires_grad_(False),
        encoder_base=encoder_model,
        named_base=False,
    )


def _read(weights: Path) -> dict[str, Tensor]:
    if weights.is_dir():
        check_files(weights)
    files = sorted(weights.glob("*.safetensors")) if weights.is_dir() else [weights]
    if not files or not files[0].is_file():
        raise ModelNotFoundError(f"There are no safetensors files in {str(weights)!r}.")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            found = load_file(file)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{file} cannot be read as safetensors: {error}") from error
        if twice := set(found) & set(tensors):
            raise ModelError(f"{file} holds {min(twice)!r}, which another file of the checkpoint holds too.")
        check_finite(found, str(file))
        tensors |= found
    return tensors


def _fill(settings: Any, tensors: dict[str, Tensor], runtime: Runtime, what: str) -> PreTrainedModel:
    family: Any = AutoModelForCausalLM._model_mapping[type(settings)]
    try:
        with quiet():
            # transformers knows under which names its releases have kept the same weights.
            model, report = family.from_pretrained(
                None,
                config=settings,
                state_dict=tensors,
                dtype=runtime.dtype,
                attn_implementation=runtime.attention,
                output_loading_info=True,
            )
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"The {what} does not fit the base's config: {error}") from error
    for fault, names in (("lacks", report["missing_keys"]), ("has no place for", report["unexpected_keys"])):
        if names:
            raise ModelError(f"The {what} {fault} {len(names)} tensors, such as {min(names)!r}.")
    model.generation_config = GenerationConfig(eos_token_id=settings.eos_token_id)
    filled: PreTrainedModel = model.to(runtime.device).eval().requires_grad_(False)
    return filled
