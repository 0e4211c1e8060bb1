"""RCC Integrations: a language model with a compressed memory store.

Names are imported on first use, so that `import rcc_integrations` pulls in neither torch nor a framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rcc_integrations._version import __version__

if TYPE_CHECKING:
    from rcc_integrations.config import RCCConfig
    from rcc_integrations.document import Document
    from rcc_integrations.errors import RCCError
    from rcc_integrations.files import find_files
    from rcc_integrations.memory.report import VerifyReport
    from rcc_integrations.memory.store import MemoryStore
    from rcc_integrations.model.grammar import Grammar
    from rcc_integrations.model.options import GenerationOptions
    from rcc_integrations.model.rcc_model import RCCModel
    from rcc_integrations.reader.answer import Answer, Source, Timings, Usage
    from rcc_integrations.reader.answer_stream import AnswerStream
    from rcc_integrations.reader.ingest import AddReport
    from rcc_integrations.reader.prompt import Turn
    from rcc_integrations.reader.reader import RCCReader
    from rcc_integrations.reader.request import Part, Request
    from rcc_integrations.reader.ticket import Ticket
    from rcc_integrations.routing.spans import Span
    from rcc_integrations.routing.support import Support

_WHERE = {
    "AddReport": "rcc_integrations.reader.ingest",
    "Answer": "rcc_integrations.reader.answer",
    "AnswerStream": "rcc_integrations.reader.answer_stream",
    "Document": "rcc_integrations.document",
    "GenerationOptions": "rcc_integrations.model.options",
    "Grammar": "rcc_integrations.model.grammar",
    "MemoryStore": "rcc_integrations.memory.store",
    "Part": "rcc_integrations.reader.request",
    "RCCConfig": "rcc_integrations.config",
    "RCCError": "rcc_integrations.errors",
    "RCCModel": "rcc_integrations.model.rcc_model",
    "RCCReader": "rcc_integrations.reader.reader",
    "Request": "rcc_integrations.reader.request",
    "Source": "rcc_integrations.reader.answer",
    "Span": "rcc_integrations.routing.spans",
    "Support": "rcc_integrations.routing.support",
    "Ticket": "rcc_integrations.reader.ticket",
    "Timings": "rcc_integrations.reader.answer",
    "Turn": "rcc_integrations.reader.prompt",
    "Usage": "rcc_integrations.reader.answer",
    "VerifyReport": "rcc_integrations.memory.report",
    "find_files": "rcc_integrations.files",
}

__all__ = [
    "AddReport",
    "Answer",
    "AnswerStream",
    "Document",
    "GenerationOptions",
    "Grammar",
    "MemoryStore",
    "Part",
    "RCCConfig",
    "RCCError",
    "RCCModel",
    "RCCReader",
    "Request",
    "Source",
    "Span",
    "Support",
    "Ticket",
    "Timings",
    "Turn",
    "Usage",
    "VerifyReport",
    "__version__",
    "find_files",
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
