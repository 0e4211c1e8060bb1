"""LlamaIndex's nodes as documents of a collection, and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.storage.docstore.utils import doc_to_json, json_to_doc

from rcc_integrations.document import Document as RCCDocument
from rcc_integrations.document import digest_of, plain_metadata
from rcc_integrations.llamaindex.whole import SUFFIX, whole
from rcc_integrations.memory.records import DocumentRecord
from rcc_integrations.memory.texts import encode_text, key_of
from rcc_integrations.reader.answer import Source

#: Key of a stored document's metadata under which its node is kept, without text and metadata.
NODE = "_llama_index"


@dataclass(frozen=True)
class Cut:
    """How a LlamaIndex document became nodes.

    Args:
        hash: The document's hash.
        parts: How many nodes it became.
    """

    hash: str
    parts: int


@dataclass(frozen=True)
class Stored:
    """A document of the collection as LlamaIndex sees it.

    Args:
        document: Its id in the collection.
        node: Id of the node.
        source: Id of the LlamaIndex document that the node was made from, if known.
        hash: That document's hash when it was put in.
        parts: How many nodes it became, if known.
        metadata: The node's metadata.
        content: Key of its text and of the metadata that last.
        place: The file, or page of one, that it was read from, if known.
    """

    document: str
    node: str
    source: str | None
    hash: str | None
    parts: int | None
    metadata: dict[str, Any]
    content: str
    place: str | None


#: Metadata of readers that change when nothing else does.
_FLEETING = frozenset({"creation_date", "last_modified_date", "last_accessed_date"})


def as_node(node: BaseNode) -> BaseNode:
    """Return a node with a source: a bare document becomes its own."""
    return whole(node) if isinstance(node, Document) and node.ref_doc_id is None else node


def document_of(node: BaseNode, cuts: Mapping[str, Cut]) -> RCCDocument:
    """Return a node as a document of the collection.

    Args:
        node: The node; whole documents keep the document's id, other nodes their own.
        cuts: By document id, how those were cut that come whole; what a node says of its source may differ, because
            transformations may have changed it in between.
    """
    kept = doc_to_json(node)
    for name in ("text", "metadata", "embedding"):
        kept["__data__"].pop(name, None)
    source = node.source_node
    cut = cuts.get(source.node_id) if source is not None else None
    kept["hash"] = cut.hash if cut else source.hash if source is not None else None
    kept["parts"] = cut.parts if cut else None
    metadata = {**plain_metadata(node.metadata), NODE: json.loads(json.dumps(kept, default=str))}
    text = node.get_content(MetadataMode.NONE)
    id = source.node_id if source is not None and node.node_id == source.node_id + SUFFIX else node.node_id
    described = json.dumps(RCCDocument(id, text, metadata=metadata).metadata, sort_keys=True)
    return RCCDocument(id, text, digest_of(f"{described}\n{text}".encode()), metadata)


def stored(record: DocumentRecord) -> Stored:
    """Read a document's record; one that did not come through LlamaIndex is its own source."""
    metadata: dict[str, Any] = dict(record.metadata)
    kept = metadata.pop(NODE, None)
    content, place = _content(record.text_key, metadata), place_of(metadata)
    if kept is None:
        return Stored(record.id, record.id + SUFFIX, record.id, None, None, metadata, content, place)
    data = kept["__data__"]
    source = data.get("relationships", {}).get(NodeRelationship.SOURCE.value)
    known = source["node_id"] if source else None
    return Stored(record.id, data["id_"], known, kept["hash"], kept["parts"], metadata, content, place)


def content_of(text: str, metadata: Mapping[str, Any]) -> str:
    """Return the key of a text and of the metadata that last, by which the same document is known again."""
    return _content(key_of(encode_text(text)), plain_metadata(metadata))


def _content(key: str, metadata: Mapping[str, Any]) -> str:
    lasting = {name: value for name, value in metadata.items() if name not in _FLEETING}
    return f"{key} {json.dumps(lasting, sort_keys=True)}"


def place_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the file, or the page of it, that a reader says a document is from; `None` if it does not."""
    path = metadata.get("file_path")
    return json.dumps([path, metadata.get("page_label")], default=str) if path else None


def node_of(id: str, metadata: Mapping[str, Any], text: str) -> BaseNode:
    """Return the node that a stored document was made from."""
    given = dict(metadata)
    kept = given.pop(NODE, None)
    if kept is None:
        related = RelatedNodeInfo(node_id=id)
        source = {NodeRelationship.SOURCE: related}
        return TextNode(id_=id + SUFFIX, text=text, metadata=given, relationships=source)
    node = json_to_doc({**kept, "__data__": {**kept["__data__"], "text": text, "metadata": given}})
    if node.get_content(MetadataMode.NONE) != text:
        node.set_content(text)
    return node


def window_node(source: Source) -> NodeWithScore:
    """Return a window as a node: its text, its place in the document it came from, and the document's metadata.

    It has the id of the node that it is a window of, which is the one in the docstore; windows of one node differ in
    their places.
    """
    node = node_of(source.document, source.metadata, source.text)
    shift = getattr(node, "start_char_idx", None) or 0
    node.start_char_idx = shift + source.start  # type: ignore[attr-defined]
    node.end_char_idx = shift + source.end  # type: ignore[attr-defined]
    return NodeWithScore(node=node, score=source.relevance)


def window_nodes(sources: Iterable[Source]) -> list[NodeWithScore]:
    """Return windows as nodes; see `window_node`."""
    return [window_node(source) for source in sources]
