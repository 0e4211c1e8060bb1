"""`TrainSettings`: the settings of a training run."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcc_integrations.config import Injection, Placement
from rcc_integrations.errors import ConfigError
from rcc_integrations.training.tasks import STAGE_SHARES, TASKS

#: What stands for settings of the layout that are not given. With `start`, the model to go on from decides instead.
LAYOUT: dict[str, Any] = {
    "base": "smollm2-135m-instruct",
    "injection": "kv",
    "window": 128,
    "encoder_rank": 32,
    "decoder_rank": 16,
    "projection_rank": 64,
}

#: Settings that may differ when a run goes on: they change nothing about what is learnt.
_FREE = ("output", "device", "save_minutes", "check_samples")


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run.

    Args:
        output: Folder of the run: `model/` (the trained model), `state/` (to resume from), `log.jsonl`, `curves.png`.
        base: Base model: hub id, folder, or `smollm2-135m-instruct` (the default).
        start: Saved RCC model to continue from, with its adapters and projections. Its base, injection, placement,
            window and ranks are kept; another value for one of them is an error.
        injection: How memory enters the decoder, `kv` (the default) or `residual`.
        placement: What a slot keeps of its tokens' levels: `focused` (the default of `kv`), `staggered` or `last` (of
            `residual`); see `RCCConfig`.
        layers: For `focused` placement, all decoder layers, beginning with the one that reads memory most; measured on
            the base model if not given (`rank_layers`).
        window: Maximum length of a window in tokens; 128 by default.
        ratios: Compression ratios and how often each is drawn, one ratio per batch; 0 means uncompressed text.
        stages: Stages in order with their share of the run: `A` reconstruction and continuation, `B` questions with
            distractor memories, `C` frozen encoder and many precomputed windows together.
        shares: Shares of tasks (`facts`, `real`, `repeat`, `continue`, `own`) for all stages; by default, each stage
            has its own.
        own: JSONL files of `{"text", "questions": [{"q", "answers"}]}` and folders of documents to train on.
        steps: Steps of the run; `None` if only `minutes` limits it.
        minutes: Time budget including saving; `None` if only `steps` limits it.
        batch: Texts per batch.
        accumulate: Batches per step, for gradient accumulation.
        max_windows: Maximum number of windows in memory.
        distractors: How often memory contains windows of other texts as well, 0 to 1.
        hard: How often a batch brings hard distractors: texts of the same kind, story or task that answer none of the
            questions, 0 to 1.
        absent: Of the texts with distractors, the share whose own memory is left out; the answer is `not stated`.
        clear: How often one of a text's windows is read as uncompressed text behind the memory, 0 to 1.
        target_tokens: Maximum number of question and answer tokens per text.
        learning_rate: Peak learning rate of the adapters.
        projection_rate: Peak learning rate of the projections.
        warmup: Share of the run in which the learning rates rise.
        weight_decay: Weight decay of AdamW.
        clip: Maximum norm of the gradient.
        distil: Weight of the KL divergence from the same decoder reading the uncompressed text; 0 for none.
        encoder_rank: Rank of the encoder's adapter; 32 by default.
        decoder_rank: Rank of the decoder's adapter; 16 by default.
        projection_rank: Rank of the projections; 64 by default.
        bank: Texts whose memories are precomputed for stage C.
        seed: Seed of the data and of the initial weights.
        device: `cpu` or `cuda`; CUDA if available, if not given. `accelerate launch` uses all GPUs;
            `CUDA_VISIBLE_DEVICES` selects among them.
        bf16: Compute in bfloat16; the default on CUDA. Trained weights and optimizer state are always float32.
        save_minutes: How often to save.
        check_samples: Number of validation samples at each save.

    Raises:
        ConfigError: A value is out of range.
    """

    output: Path
    base: str | None = None
    start: Path | None = None
    injection: Injection | None = None
    placement: Placement | None = None
    layers: tuple[int, ...] = ()
    window: int | None = None
    ratios: dict[int, float] = field(default_factory=lambda: {0: 0.1, 1: 0.15, 2: 0.1, 4: 0.4, 8: 0.25})
    stages: dict[str, float] = field(default_factory=lambda: {"A": 0.15, "B": 0.75, "C": 0.1})
    shares: dict[str, float] | None = None
    own: tuple[Path, ...] = ()
    steps: int | None = None
    minutes: float | None = None
    batch: int = 4
    accumulate: int = 1
    max_windows: int = 16
    distractors: float = 0.5
    hard: float = 0.4
    absent: float = 0.08
    clear: float = 0.1
    target_tokens: int = 176
    learning_rate: float = 1e-3
    projection_rate: float = 3e-4
    warmup: float = 0.03
    weight_decay: float = 0.01
    clip: float = 1.0
    distil: float = 0.0
    encoder_rank: int | None = None
    decoder_rank: int | None = None
    projection_rank: int | None = None
    bank: int = 256
    seed: int = 0
    device: str | None = None
    bf16: bool | None = None
    save_minutes: float = 5.0
    check_samples: int = 24

    def __post_init__(self) -> None:
        for name in ("output", "start"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(path))
        object.__setattr__(self, "own", tuple(Path(path) for path in self.own))
        object.__setattr__(self, "layers", tuple(self.layers))
        if self.steps is None and self.minutes is None:
            raise ConfigError("A run needs an end: give steps, minutes, or both (command line: --steps, --minutes).")
        self._check_ranges()
        for name, choices in (("injection", ("kv", "residual")), ("placement", ("focused", "staggered", "last")),
                              ("device", ("cpu", "cuda"))):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}; it is {value!r}.")
        for name, given in (("stages", self.stages), ("ratios", self.ratios), ("shares", self.shares)):
            if given is not None and (not given or not all(_above_zero(share) for share in given.values())):
                raise ConfigError(f"{name} needs shares above 0; it is {given!r}.")
        for name, known, wanted in (("stage", STAGE_SHARES, self.stages), ("task", TASKS, self.shares or {})):
            if unknown := [item for item in wanted if item not in known]:
                raise ConfigError(f"There is no {name} {unknown[0]!r}; there are {', '.join(known)}.")
        most = self.window or (LAYOUT["window"] if self.start is None else None)
        self.check_ratios(most)

    def _check_ranges(self) -> None:
        counts = ("batch", "accumulate", "max_windows", "target_tokens", "bank", "check_samples")
        optional = ("window", "encoder_rank", "decoder_rank", "projection_rank", "steps")
        for name in (*counts, *(name for name in optional if getattr(self, name) is not None)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1; it is {value!r}.")
        rates = ("learning_rate", "projection_rate", "clip", "save_minutes")
        for name in (*rates, *(("minutes",) if self.minutes is not None else ())):
            if not _above_zero(getattr(self, name)):
                raise ConfigError(f"{name} must be a number above 0; it is {getattr(self, name)!r}.")
        shares = dict.fromkeys(("distractors", "hard", "absent", "clear"), 1.0)
        for name, most in {"warmup": 0.9, **shares, "weight_decay": math.inf, "distil": math.inf}.items():
            value = getattr(self, name)
            if not 0 <= value <= most or math.isinf(value):
                raise ConfigError(f"{name} must be from 0 to {most:g}; it is {value!r}.")

    def check_ratios(self, window: int | None) -> None:
        """Check the ratios against a window, as far as one is known.

        Args:
            window: The longest window in tokens.

        Raises:
            ConfigError: If a ratio cannot be used, or none above 0 is left to train.
        """
        for ratio in self.ratios:
            if not isinstance(ratio, int) or isinstance(ratio, bool) or ratio < 0 or (window and ratio > window):
                raise ConfigError(f"A ratio must be a whole number from 0 to the window of {window}: {ratio!r}.")
        if not any(self.ratios):
            raise ConfigError("ratios needs one of at least 1: with 0 alone no memory would be trained.")

    def layout(self, name: str) -> Any:
        """Return a setting of `LAYOUT`, or what stands for it if it is not given."""
        value = getattr(self, name)
        return LAYOUT[name] if value is None else value

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))  # type: ignore[no-any-return]


def differences(saved: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Say in what two settings differ, but for those that change nothing about what is learnt.

    Args:
        saved: As `TrainSettings.to_dict` returns it, of the saved run.
        now: The same, of this one.
    """
    names = [name for name in sorted({*saved, *now}) if name not in _FREE]
    return [f"{name} was {saved.get(name)!r}, now {now.get(name)!r}" for name in names
            if saved.get(name) != now.get(name)]  # fmt: skip


def _above_zero(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
