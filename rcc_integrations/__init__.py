"""RCC Integrations: a language model with a compressed memory store.

Names are imported on first use, so that `import rcc_integrations` pulls in neither torch nor a framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rcc_integrations._version import __version__

if TYPE_CHECKING:
    from rcc_integrations.config import RCCConfig
    from rcc_integrations.errors import RCCError
    from rcc_integrations.memory.store import MemoryStore
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.reader.answer import Answer, Source
    from rcc_integrations.reader.answer_stream import AnswerStream
    from rcc_integrations.reader.reader import RCCReader

_WHERE = {
    "Answer": "rcc_integrations.reader.answer",
    "AnswerStream": "rcc_integrations.reader.answer_stream",
    "MemoryStore": "rcc_integrations.memory.store",
    "RCCConfig": "rcc_integrations.config",
    "RCCError": "rcc_integrations.errors",
    "RCCModel": "rcc_integrations.model.rcc_model",
    "RCCReader": "rcc_integrations.reader.reader",
    "Source": "rcc_integrations.reader.answer",
}

__all__ = [
    "Answer",
    "AnswerStream",
    "MemoryStore",
    "RCCConfig",
    "RCCError",
    "RCCModel",
    "RCCReader",
    "Source",
    "__version__",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
