"""Room that is kept so that a full disk can be made emptier: removing documents writes to the index first."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from diskcache.core import DBNAME

from rcc_integrations.errors import StoreFullError

_Result = TypeVar("_Result")

NAME: Final = "reserve"
#: As many bytes are kept as the index has, which removing all of it takes at most, within these bounds.
LEAST: Final = 1 << 18
MOST: Final = 1 << 24


class Reserve:
    """A file without meaning that is given up when there is no room left.

    Args:
        index: The index folder, in which it lies.
    """

    def __init__(self, index: Path) -> None:
        self._path = index / NAME

    def keep(self) -> None:
        """Put the file there if it is not, and if the disk has plenty of room; a failure is no harm."""
        with contextlib.suppress(OSError):
            wanted = min(max(os.stat(self._path.with_name(DBNAME)).st_size, LEAST), MOST)
            if os.path.lexists(self._path):
                if 2 * os.lstat(self._path).st_size >= wanted:
                    return
                self._give_up()
            if wanted * 16 <= shutil.disk_usage(self._path.parent).free:
                # Not zeros: file systems store those in no room at all.
                with open(self._path, "xb") as file:
                    file.write(os.urandom(wanted))

    def spend(self, work: Callable[[], _Result]) -> _Result:
        """Do something that makes room; if there is none to do it in, give up the file and do it again.

        Raises:
            StoreFullError: There is no room even so.
        """
        try:
            return work()
        except StoreFullError:
            if not self._give_up():
                raise
            return work()

    def _give_up(self) -> bool:
        try:
            if not stat.S_ISREG(os.lstat(self._path).st_mode):
                return False
            os.unlink(self._path)
        except OSError:
            return False
        return True
