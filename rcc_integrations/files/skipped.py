"""An input that is not read, and why."""

from __future__ import annotations

from dataclasses import dataclass

from rcc_integrations.files.names import printable


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was not read although the user may expect it.

    Args:
        path: The file or folder, as the user gave it or below that, in printable form.
        reason: Why it is not read and, if something helps, what to do.
        routine: Whether it is left out by rule, such as `.git` in a folder, and needs no attention.
    """

    path: str
    reason: str
    routine: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", printable(self.path))
        object.__setattr__(self, "reason", printable(self.reason))

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
