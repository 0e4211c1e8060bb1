"""LangChain: a chat model, a document index and a question-answering chain over compressed memory."""

try:
    import langchain_core as _  # noqa: F401
except ImportError as error:
    from rcc_integrations.errors import MissingExtraError

    raise MissingExtraError("langchain-core", "langchain", "rcc_integrations.langchain") from error

from rcc_integrations.langchain.chain import create_memory_chain
from rcc_integrations.langchain.chat_model import RCCChatModel
from rcc_integrations.langchain.index import RCCDocumentIndex

__all__ = ["RCCChatModel", "RCCDocumentIndex", "create_memory_chain"]
