"""`RCCConfig`: everything about an RCC model that is not a weight."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rcc_integrations.errors import ConfigError

#: Increased when older code can no longer read stored memories or checkpoints. Part of every fingerprint.
FORMAT = 1

#: The answer to an unanswerable question, as training teaches it.
NOT_STATED = "not stated"

#: Separators of the items of a grounded list, and the maximum number of items.
SEPARATORS = (", ", " and ", ", and ", "; ")
MOST_SPANS = 8

Injection = Literal["kv", "residual"]
Placement = Literal["focused", "staggered", "last"]
Projection = Literal["identity", "low_rank", "linear"]
Filling = Literal["none", "published"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "injection": ("kv", "residual"),
    "placement": ("focused", "staggered", "last"),
    "projection": ("identity", "low_rank", "linear"),
    "filling": ("none", "published"),
}


@dataclass(frozen=True)
class RCCConfig:
    """Settings of an RCC model; saved as `rcc_config.json` beside its weights.

    Args:
        base: Name of the base model: a hub id, a folder, or a name that the package knows (`smollm2-135m-instruct`).
        injection: How memory enters the decoder: `kv` (keys and values per slot) or `residual` (as published).
        placement: What a slot, which stands for a run of `ratio` tokens, keeps of its tokens: `last` keeps every level
            of the last token; `staggered` keeps every level, each of another token of the run; `focused` keeps all
            tokens, at the few levels that are read most.
        layers: For `focused` placement, all decoder layers, beginning with the one that reads memory most: at ratio r,
            the first (layers // r) of them have memory. Empty for other placements.
        ratio: Default compression ratio: source tokens per slot.
        ratios: Ratios that the adapters were trained for. Ratio 1 with `kv` is exact without training and always
            allowed; other ratios must be requested explicitly.
        window: Maximum length of a window, in tokens.
        max_windows: Maximum number of windows in memory, as in training; `None` for no limit.
        projection: Form of the map from an encoder level to a decoder level.
        projection_rank: Rank of `low_rank` projections.
        filling: `published` fills windows to their full length as the released code does; `none` masks instead.
        prefix_text: Uncompressed text before the memories; it also serves as the attention sink.
        question_template: Text around the question; contains `{question}` once.
        answer_marker: If set, the answer is the decoder's output after this marker.
        stop: Strings that end an answer, in addition to the tokenizer's end token.
        confidence: Four weights from which the confidence of an answer is computed (`rcc calibrate` fits them); empty
            if the model is not calibrated.

    Raises:
        ConfigError: A value is out of range; the message names it.
    """

    base: str
    injection: Injection = "kv"
    placement: Placement = "staggered"
    layers: tuple[int, ...] = ()
    ratio: int = 4
    ratios: tuple[int, ...] = ()
    window: int = 128
    max_windows: int | None = None
    projection: Projection = "identity"
    projection_rank: int = 0
    filling: Filling = "none"
    prefix_text: str = ""
    question_template: str = "\n\nQuestion: {question}\nAnswer:"
    answer_marker: str | None = None
    stop: tuple[str, ...] = ()
    confidence: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}; it is {getattr(self, name)!r}.")
        for name in ("ratio", "window"):
            _check_int(name, getattr(self, name), 1)
        for value in self.layers:
            _check_int("layers", value, 0)
        self._check_placement()
        for value in self.ratios:
            _check_int("ratios", value, 1)
        if self.max_windows is not None:
            _check_int("max_windows", self.max_windows, 1)
        _check_int("projection_rank", self.projection_rank, 1 if self.projection == "low_rank" else 0)
        if self.ratio > self.window:
            raise ConfigError(f"ratio {self.ratio} is larger than the window of {self.window} tokens.")
        for name in ("base", "prefix_text", "question_template"):
            _check_text(name, getattr(self, name))
        if self.answer_marker is not None:
            _check_text("answer_marker", self.answer_marker)
        if self.question_template.count("{question}") != 1:
            raise ConfigError(f"question_template must hold {{question}} once; it is {self.question_template!r}.")
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ConfigError(f"stop must be non-empty strings; it is {self.stop!r}.")
        known = [isinstance(value, int | float) and math.isfinite(value) for value in self.confidence]
        if len(known) not in (0, 4) or not all(known):
            raise ConfigError(f"confidence must be four finite numbers, or empty; it is {list(self.confidence)!r}.")

    def _check_placement(self) -> None:
        if self.placement != "focused":
            if self.layers:
                raise ConfigError(f"layers are for focused placement; this one is {self.placement}.")
            return
        if self.injection != "kv" or self.filling != "none":
            raise ConfigError("Focused placement is for kv injection and windows that are not filled.")
        if sorted(self.layers) != list(range(len(self.layers))) or not self.layers:
            raise ConfigError(
                "Focused placement needs layers: every decoder layer once, the one that reads memory most first "
                f"(rcc_integrations.training.rank_layers measures that); they are {list(self.layers)}."
            )

    def to_json(self) -> str:
        """Return the settings and the format version as JSON text."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str = "rcc_config.json") -> RCCConfig:
        """Read settings written by `to_json`.

        Args:
            text: The JSON text.
            where: Name of the source, for error messages.

        Raises:
            ConfigError: The text is not valid, has a newer format, or contains an unknown setting.
        """
        try:
            data: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where} is not JSON: {error}.") from error
        if not isinstance(data, dict):
            raise ConfigError(f"{where} must hold a JSON object; it holds {type(data).__name__}.")
        version = data.pop("format", None)
        if version != FORMAT:
            raise ConfigError(
                f"{where} has format {version!r}; this version reads format {FORMAT}. Upgrade the package."
            )
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(data) - known):
            raise ConfigError(f"{where} has unknown settings: {', '.join(unknown)}.")
        for name in ("layers", "ratios", "stop", "confidence"):
            if isinstance(data.get(name), list):
                data[name] = tuple(data[name])
        try:
            return cls(**data)
        except TypeError as error:
            raise ConfigError(f"{where} is not complete: {error}.") from error

    @classmethod
    def load(cls, folder: Path) -> RCCConfig:
        """Read the `rcc_config.json` of a folder.

        Raises:
            ConfigError: The file is missing or cannot be used.
        """
        path = folder / "rcc_config.json"
        try:
            return cls.from_json(path.read_text(encoding="utf-8"), where=str(path))
        except FileNotFoundError as error:
            raise ConfigError(f"{folder} holds no rcc_config.json, so it is not a saved RCC model.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}.") from error


def _check_text(name: str, value: object) -> None:
    try:
        if not isinstance(value, str):
            raise TypeError
        value.encode("utf-8")
    except (TypeError, UnicodeEncodeError):
        raise ConfigError(f"{name} must be text; it is {value!r}.") from None


def _check_int(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}; it is {value!r}.")
