"""`TrainSettings`: everything that decides a training run."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rcc_integrations.config import Injection, Placement
from rcc_integrations.errors import ConfigError

#: Shares of tasks in the three stages (design: reconstruction first, then questions, then many windows).
STAGE_SHARES: dict[str, dict[str, float]] = {
    "A": {"repeat": 0.5, "continue": 0.5},
    "B": {"facts": 0.55, "real": 0.25, "repeat": 0.14, "continue": 0.06},
    "C": {"facts": 0.7, "real": 0.3},
}


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training run.

    Args:
        output: Folder of the run: `model/` (the trained model), `state/` (to resume from), `log.jsonl`, `curves.png`.
        base: Base model: hub id, folder, or `smollm2-135m-instruct`.
        start: Saved RCC model to go on from (its adapters and projections); its layout is kept.
        injection: How memory enters the decoder, `kv` or `residual`.
        placement: Which tokens a slot's levels are taken from, `staggered` or `last`.
        window: Longest window in tokens.
        ratios: Compression ratios and how often each is drawn, a ratio a batch; 0 stands for texts read in clear.
        stages: Stages in order with their share of the run: `A` reconstruction and continuation, `B` questions with
            distractor memories, `C` encoder frozen and many precomputed windows beside one another.
        shares: Shares of tasks, for all stages; by default each stage has its own.
        own: JSONL files of `{"text", "questions"}` and folders of documents to train on.
        steps: Steps of the run; `None` if only `minutes` limits it.
        minutes: Time budget; `None` if only `steps` limits it.
        batch: Texts a step.
        accumulate: Batches a step whose gradients are added up.
        max_windows: The most windows in memory beside one another.
        distractors: How often memories of other texts stand beside a text's own.
        target_tokens: The most tokens of questions and answers about one text.
        learning_rate: Of the adapters, at its highest.
        projection_rate: Of the projections, at its highest.
        warmup: Share of the run in which the rates rise.
        weight_decay: Of AdamW.
        clip: Largest norm of the gradient.
        distil: Weight of the divergence from the same decoder reading the text uncompressed; 0 for none.
        encoder_rank: Rank of the encoder's adapter.
        decoder_rank: Rank of the decoder's adapter.
        projection_rank: Rank of the projections.
        bank: Texts whose memories are precomputed for stage C.
        seed: Decides data and initial weights.
        device: Chosen if not given.
        bf16: Compute in bfloat16; on CUDA by default.
        save_minutes: How often to save.
        check_samples: Validation samples looked at when saving.

    Raises:
        ConfigError: If a value is out of its range.
    """

    output: Path
    base: str = "smollm2-135m-instruct"
    start: Path | None = None
    injection: Injection = "kv"
    placement: Placement = "staggered"
    window: int = 128
    ratios: dict[int, float] = field(default_factory=lambda: {0: 0.1, 1: 0.15, 2: 0.1, 4: 0.4, 8: 0.25})
    stages: dict[str, float] = field(default_factory=lambda: {"A": 0.15, "B": 0.75, "C": 0.1})
    shares: dict[str, float] | None = None
    own: tuple[Path, ...] = ()
    steps: int | None = None
    minutes: float | None = None
    batch: int = 4
    accumulate: int = 1
    max_windows: int = 16
    distractors: float = 0.6
    target_tokens: int = 176
    learning_rate: float = 1e-3
    projection_rate: float = 3e-4
    warmup: float = 0.03
    weight_decay: float = 0.01
    clip: float = 1.0
    distil: float = 0.0
    encoder_rank: int = 32
    decoder_rank: int = 16
    projection_rank: int = 64
    bank: int = 256
    seed: int = 0
    device: str | None = None
    bf16: bool | None = None
    save_minutes: float = 5.0
    check_samples: int = 24

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ConfigError("A run needs an end: give steps, minutes, or both.")
        counts = ("window", "batch", "accumulate", "max_windows", "target_tokens", "encoder_rank", "decoder_rank",
                  "projection_rank", "bank", "check_samples")  # fmt: skip
        for name in (*counts, *(("steps",) if self.steps is not None else ())):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} must be a whole number of at least 1; it is {value!r}.")
        rates = ("learning_rate", "projection_rate", "clip", "save_minutes")
        for name in (*rates, *(("minutes",) if self.minutes is not None else ())):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0; it is {getattr(self, name)!r}.")
        for name in ("warmup", "weight_decay", "distil", "distractors"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be at least 0; it is {getattr(self, name)!r}.")
        for name, known in (("stages", set(STAGE_SHARES)), ("ratios", None)):
            given = getattr(self, name)
            if not given or any(not share > 0 for share in given.values()):
                raise ConfigError(f"{name} needs positive shares; it is {given!r}.")
            if known and (unknown := set(given) - known):
                raise ConfigError(f"There is no stage {sorted(unknown)[0]!r}; there are {', '.join(sorted(known))}.")
        if bad := [ratio for ratio in self.ratios if not isinstance(ratio, int) or not 0 <= ratio <= self.window]:
            raise ConfigError(f"A ratio must be a whole number from 0 to the window of {self.window}: {bad[0]!r}.")

    def stage_at(self, progress: float) -> str:
        """Return the stage at a part of the run, 0 to 1."""
        whole, passed = sum(self.stages.values()), 0.0
        for stage, share in self.stages.items():
            passed += share / whole
            if progress < passed:
                return stage
        return list(self.stages)[-1]

    def shares_of(self, stage: str) -> dict[str, float]:
        """Return the shares of tasks in a stage."""
        return self.shares or STAGE_SHARES[stage]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return json.loads(json.dumps(dataclasses.asdict(self), default=str))  # type: ignore[no-any-return]
