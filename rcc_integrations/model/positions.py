"""How many positions a model has, read from its files: for those who ask before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rcc_integrations.model import packaged

_DEFAULT = Path(__file__).parent / "default"


def known_positions(model: str | None, base: str | None) -> int | None:
    """Return the positions that every layer of a model attends over, or `None` if only loading it tells.

    Args:
        model: Folder of an RCC model; the default model if not given.
        base: Other place of its base.
    """
    folder = _DEFAULT if model is None else Path(model)
    name = _json(folder / "rcc_config.json").get("base")
    places = [Path(base)] if base else [folder / "base", Path(str(name))]
    if not base and name == packaged.NAME:
        places.append(packaged.converted_folder())
    for place in places:
        config = _json(place / "config.json")
        positions = config.get("max_position_embeddings")
        if isinstance(positions, int) and not config.get("sliding_window") and "text_config" not in config:
            return positions
    return None


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
