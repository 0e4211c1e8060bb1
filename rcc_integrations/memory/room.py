"""The most bytes that a store may hold."""

from __future__ import annotations

from rcc_integrations.errors import StoreFullError
from rcc_integrations.memory import ledger
from rcc_integrations.memory.index import Rows


class Room:
    """The room that is left for memories and texts.

    Args:
        limit: Most bytes of both together; None for no limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit

    def check(self, rows: Rows, more: int) -> None:
        """Refuse so many more bytes if they do not fit.

        Raises:
            StoreFullError: They do not.
        """
        if self.limit is None or more <= 0:
            return
        used = ledger.usage(rows).total
        if used + more > self.limit:
            raise StoreFullError(
                f"The store holds {used:,} bytes of memories and texts; {more:,} more would exceed its limit of "
                f"{self.limit:,}. Delete documents or open it with a larger size_limit."
            )
