"""Checks the routing indices of a store, which hold nothing that cannot be made again from its memories."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from rcc_integrations.memory.lost_found import LostAndFound
from rcc_integrations.memory.report import Problem
from rcc_integrations.memory.routing_index import RoutingIndex, read_header

#: Name of the folder of all routing indices in a store.
FOLDER: Final = "routing"
KIND: Final = "routing-index"


def check_routing(store: Path, uids: Collection[str], lost: LostAndFound | None = None) -> list[Problem]:
    """Check all routing indices of a store.

    Args:
        store: The store's folder.
        uids: The collections that there are.
        lost: Where indices are put that are damaged or belong to nothing; `None` to leave everything as it is. What is
            taken out is made again when its collection is next asked.

    Returns:
        A problem for each index.
    """
    problems = []
    root = store / FOLDER
    folders = sorted(root.iterdir()) if root.is_dir() and not root.is_symlink() else []
    for folder in folders:
        why = _fault(folder, uids)
        if why is None:
            continue
        if lost is not None:
            lost.take(folder, why)
        action = f"moved to {lost.folder.relative_to(store)}" if lost is not None else ""
        where = str(folder.relative_to(store))
        problems.append(Problem(KIND, why, where, lost is not None and not lost.dry_run, action))
    return problems


def size_of(store: Path) -> int:
    """Return the bytes of all routing indices of a store."""
    size = 0
    for folder, _, names in os.walk(store / FOLDER):
        for name in names:
            try:
                size += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return size


def _fault(folder: Path, uids: Collection[str]) -> str | None:
    if folder.is_symlink() or not folder.is_dir():
        return "It is no routing index."
    if folder.name not in uids:
        return "It is the routing index of a collection that does not exist."
    header = read_header(folder)
    if header is None:
        return "The routing index has no header that can be read."
    index = RoutingIndex(folder, header["made_by"], header["width"])
    if index.damaged:
        return f"{index.damaged} of {index.damaged + len(index)} windows in the routing index are damaged."
    return None
