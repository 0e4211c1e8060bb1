"""The grammar of grounded answers: held, token by token, to what stands verbatim in the texts that are read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rcc_integrations.config import NOT_STATED
from rcc_integrations.routing.passage import Passage

if TYPE_CHECKING:
    from rcc_integrations.model.grammar import Grammar


def grounded_grammar(passages: Sequence[Passage]) -> Grammar:
    """Return the grammar of all answers that are whole words of one passage, lists of such, or `NOT_STATED`.

    Args:
        passages: At least one, none empty.
    """
    from rcc_integrations.model.grammar import Grammar

    return Grammar.verbatim(list(dict.fromkeys(passage.text for passage in passages)), NOT_STATED)
