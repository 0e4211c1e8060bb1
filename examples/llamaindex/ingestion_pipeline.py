"""An `IngestionPipeline` in front of memory: cleans documents, remembers them, and compresses what is new.

python examples/llamaindex/ingestion_pipeline.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core import Document
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore

from rcc_integrations.llamaindex import RCCMemoryIndex, WholeDocuments

DATA = Path(__file__).parent.parent / "data"


class NoHeadings(TransformComponent):
    """Removes the hashes of Markdown headings."""

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:
        """Return the nodes with their text cleaned."""
        for node in nodes:
            node.set_content("\n".join(line.lstrip("# ") for line in node.get_content().splitlines()))
        return nodes


def ingest(pipeline: IngestionPipeline, index: RCCMemoryIndex, documents: Sequence[Document]) -> int:
    """Run documents through the pipeline into the index; return how many were new to it."""
    nodes = pipeline.run(documents=list(documents))
    index.insert_nodes(nodes)
    return len(nodes)


def make_pipeline() -> IngestionPipeline:
    """Build the pipeline; its docstore knows what was seen."""
    return IngestionPipeline(
        transformations=[WholeDocuments(), NoHeadings()],
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy.DUPLICATES_ONLY,
    )


def main(store: str = "memory") -> tuple[int, int]:
    """Ingest twice: nothing is new the second time."""
    documents = [Document(id_=path.name, text=path.read_text("utf-8")) for path in sorted(DATA.glob("*.md"))]
    index = RCCMemoryIndex(nodes=[], store=store, collection="ingested")
    pipeline = make_pipeline()
    return ingest(pipeline, index, documents), ingest(pipeline, index, documents)


if __name__ == "__main__":
    print(main())
