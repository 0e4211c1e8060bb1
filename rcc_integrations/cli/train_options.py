"""How the options of `rcc train` are made from the fields of `TrainSettings`."""

from __future__ import annotations

import dataclasses
from typing import Any

import typer

from rcc_integrations.errors import ConfigError
from rcc_integrations.training.settings import LAYOUT, TrainSettings

#: Every field, with its default.
DEFAULTS: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(TrainSettings)} | LAYOUT

#: Headings of the help.
RUN, MODEL, DATA, PACE = "Run", "Model", "Data", "Optimisation"


def option(name: str, metavar: str, text: str, panel: str, default: str | None = None) -> Any:
    """Return an option of `rcc train` for a field of `TrainSettings`.

    Args:
        name: Of the field.
        metavar: What stands for its value in the help.
        text: Its help.
        panel: Under which heading it is shown.
        default: What to show as its default, where the field's own would not say enough.
    """
    value = DEFAULTS.get(name)
    known = value is not None and value is not dataclasses.MISSING
    shown = default or (f"{value:g}" if isinstance(value, float) else str(value) if known else False)
    flag = "--data" if name == "own" else f"--{name.replace('_', '-')}"
    return typer.Option(flag, metavar=metavar, help=text, show_default=shown, rich_help_panel=panel)


def shares(name: str, values: list[str], *, whole: bool) -> dict[Any, float]:
    """Read options of the form NAME=SHARE; a name alone is a share of one.

    Args:
        name: Of the option.
        values: As given.
        whole: Whether the names are whole numbers.

    Raises:
        ConfigError: If one is not of that form.
    """
    found: dict[Any, float] = {}
    for value in values:
        key, _, share = value.partition("=")
        try:
            found[int(key) if whole else key] = float(share) if share else 1.0
        except ValueError as error:
            example = "4=0.5" if whole else "B=0.5"
            raise ConfigError(f"--{name} takes a name and a share, such as {example}; it is {value!r}.") from error
    return found


def numbers(name: str, value: str) -> tuple[int, ...]:
    """Read whole numbers with commas between.

    Args:
        name: Of the option.
        value: As given.

    Raises:
        ConfigError: If it is not of that form.
    """
    try:
        return tuple(int(number) for number in value.split(","))
    except ValueError as error:
        raise ConfigError(f"--{name} takes whole numbers separated by commas; it is {value!r}.") from error
