"""`WholeDocuments`: documents become nodes as they are, and are cut by the package's own windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, NodeRelationship, TextNode, TransformComponent

#: Marks the id of a node that is a whole document.
SUFFIX = "#whole"


class WholeDocuments(TransformComponent):
    """Turns every document into a single node with the document as its source.

    It takes the place of a node parser in an index or an `IngestionPipeline`. Nodes that already have a source are
    passed through.
    """

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[BaseNode]:
        """Return one node for every document."""
        return [whole(node) if node.ref_doc_id is None else node for node in nodes]

    @classmethod
    def class_name(cls) -> str:
        """Return the component's name."""
        return "RCCWholeDocuments"


def whole(document: BaseNode) -> TextNode:
    """Return a document as one node."""
    return TextNode(
        id_=document.node_id + SUFFIX,
        text=document.get_content(MetadataMode.NONE),
        metadata=dict(document.metadata),
        excluded_embed_metadata_keys=list(document.excluded_embed_metadata_keys),
        excluded_llm_metadata_keys=list(document.excluded_llm_metadata_keys),
        relationships={NodeRelationship.SOURCE: document.as_related_node_info()},
    )
