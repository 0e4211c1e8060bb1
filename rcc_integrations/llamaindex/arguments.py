"""The arguments of LlamaIndex's own indices and engines: which ours honour, take for nothing, or refuse, and why."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from rcc_integrations.errors import ConfigError, UnknownArgumentError

_log = logging.getLogger(__name__)

#: Arguments of other indices that have nothing to do here, and why.
NEEDLESS = {
    "embed_model": "memory needs no embedding model",
    "use_async": "questions are answered in batches, and changes have async twins",
    "insert_batch_size": "windows are compressed in batches of their own",
    "store_nodes_override": "the store keeps all texts",
    "vector_store_query_mode": "windows are chosen by the reader's router",
    "alpha": "windows are chosen by the reader's router",
    "sparse_top_k": "windows are chosen by the reader's router; similarity_top_k says how many",
    "hybrid_top_k": "windows are chosen by the reader's router; similarity_top_k says how many",
    "vector_store_kwargs": "there is no vector store",
    "multimodal": "memory is made of text",
}
#: What retrievers take.
RETRIEVAL = ("similarity_top_k", "filters", "doc_ids", "node_ids", "verbose")
#: What LlamaIndex's synthesizers and query engines take.
SYNTHESIS = ("response_synthesizer", "node_postprocessors", "response_mode", "text_qa_template", "refine_template",
             "summary_template", "simple_template", "chat_content_qa_template", "chat_content_refine_template",
             "output_cls", "use_async", "streaming", "verbose", "multimodal", "callback_manager")  # fmt: skip
#: What LlamaIndex's chat engines take; its indices hand all of it to their retrievers and query engines, too.
CHAT = ("memory", "chat_history", "system_prompt", "prefix_messages", "context_prompt", "context_template",
        "context_refine_prompt", "context_refine_template", "condense_prompt", "condense_question_prompt",
        "skip_condense", "memory_cls", "token_limit", "chat_mode", "verbose", "llm")  # fmt: skip


def chosen(where: str, given: Mapping[str, Any], known: Iterable[str], beside: Iterable[str] = ()) -> dict[str, Any]:
    """Return the arguments that are known, and say of the others what becomes of them.

    Args:
        where: What was called.
        given: All arguments.
        known: Those that it takes.
        beside: Those that belong to something else, to which they are handed too.

    Raises:
        UnknownArgumentError: If one is nowhere.
        ConfigError: If one asks for what there is not.
    """
    known, beside = set(known), set(beside)
    found = {}
    for name, value in given.items():
        if name in known:
            found[name] = value
        elif name in NEEDLESS:
            _needless(where, name, value)
        elif name not in beside:
            raise UnknownArgumentError(where, name, [*known, *NEEDLESS])
    return found


def _needless(where: str, name: str, value: Any) -> None:
    mode = str(getattr(value, "value", value))
    if name == "vector_store_query_mode" and mode not in ("default", "text_search"):
        raise ConfigError(
            f"{where}: vector_store_query_mode={mode!r} needs vectors, and memory has none. Leave it out, or put "
            "index.as_retriever() and a vector retriever into a QueryFusionRetriever."
        )
    if value not in (None, False):
        _log.info("%s: %s has no effect: %s.", where, name, NEEDLESS[name])
