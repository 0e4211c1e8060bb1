"""A tiny random model of every family, and a tokenizer for it: made in a blink, nothing is fetched."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from rcc_integrations.model.rcc_model import RCCModel

FAMILIES = ("llama", "qwen2", "qwen3", "mistral", "gpt_neox")

TEXT = (
    "The ferry to Holm leaves at 7:45. A ticket for the ferry costs 12 euros. Ines Calder works as a harbour pilot. "
    "Ines Calder was born in Varde.\n\nThe library opens at nine. Who approves leave? The warden approves leave! "
    "Nobody sails in a storm, and the bell rings twice: once for fog, once for ice.\n"
)

_SHAPE = dict(
    vocab_size=600,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    max_position_embeddings=1024,
    bos_token_id=1,
    eos_token_id=2,
)
_GROUPED = {**_SHAPE, "num_key_value_heads": 2}


@cache
def tiny_tokenizer() -> Any:
    """Return a byte-level BPE tokenizer with chat tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([TEXT] * 8, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )


def tiny_base(family: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """Return a random causal LM of a family, float32."""
    torch.manual_seed(seed)
    if family == "llama":
        model: PreTrainedModel = LlamaForCausalLM(LlamaConfig(**{**_GROUPED, **changes}))
    elif family == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**{**_GROUPED, **changes}))
    elif family == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**{**_GROUPED, "head_dim": 16, **changes}))
    elif family == "mistral":
        model = MistralForCausalLM(MistralConfig(**{**_GROUPED, "sliding_window": None, **changes}))
    else:
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**{**_SHAPE, "rotary_pct": 0.5, **changes}))
    for name, weight in model.named_parameters():
        # Larger weights than a fresh model has, so that positions and memories matter to what it writes.
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3 if "embed" in name else 0.2)
    # Greedy answers never end by themselves: how long one is does not hang on chance.
    torch.nn.init.zeros_(model.get_output_embeddings().weight[2])
    return model.eval()


def tiny_model(family: str = "llama", **settings: Any) -> RCCModel:
    """Return an untrained RCC model on a tiny base."""
    seed, changes = settings.pop("seed", 0), settings.pop("base", {})
    settings = {"window": 64, "ratio": 4, "ratios": (1, 2, 4, 8), "prefix_text": "<|im_start|>user\n", **settings}
    settings.setdefault("question_template", "\n{question}<|im_end|>\n<|im_start|>assistant\n")
    return RCCModel.from_base(tiny_base(family, seed, **changes), tokenizer=tiny_tokenizer(), **settings)


def save_tiny_model(folder: Path, **settings: Any) -> Path:
    """Write a tiny model to a folder and return the folder."""
    tiny_model(**settings).save_pretrained(folder)
    return folder
