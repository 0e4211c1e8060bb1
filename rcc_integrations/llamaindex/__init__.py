"""LlamaIndex: an index, query and chat engines, a retriever and an LLM over compressed memory.

Importing it registers the index with LlamaIndex, so that `load_index_from_storage` knows it.
"""

try:
    import llama_index.core as _  # noqa: F401
except ImportError as error:
    from rcc_integrations.errors import MissingExtraError

    raise MissingExtraError("llama-index-core", "llamaindex", "rcc_integrations.llamaindex") from error

from rcc_integrations.llamaindex.chat_engine import RCCChatEngine
from rcc_integrations.llamaindex.events import RCCCompressEvent, RCCGenerateEvent, RCCLoadEvent, RCCRouteEvent
from rcc_integrations.llamaindex.index import RCCMemoryIndex
from rcc_integrations.llamaindex.llm import RCCLLM
from rcc_integrations.llamaindex.query_engine import RCCQueryEngine
from rcc_integrations.llamaindex.retriever import RCCMemoryRetriever
from rcc_integrations.llamaindex.selector import RCCSelector
from rcc_integrations.llamaindex.struct import RCCMemoryStruct
from rcc_integrations.llamaindex.whole import WholeDocuments

__all__ = [
    "RCCLLM",
    "RCCChatEngine",
    "RCCCompressEvent",
    "RCCGenerateEvent",
    "RCCLoadEvent",
    "RCCMemoryIndex",
    "RCCMemoryRetriever",
    "RCCMemoryStruct",
    "RCCQueryEngine",
    "RCCRouteEvent",
    "RCCSelector",
    "WholeDocuments",
]
