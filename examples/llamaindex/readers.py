"""LlamaIndex readers as input, with metadata to filter by.

python examples/llamaindex/readers.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from rcc_integrations.llamaindex import RCCMemoryIndex

DATA = Path(__file__).parent.parent / "data"


def main(question: str = "Who approves leave?", **options: Any) -> list[str]:
    """Read a folder, then query one of its files; return the names of the source documents."""
    reader = SimpleDirectoryReader(
        str(DATA), required_exts=[".md"], filename_as_id=True, file_metadata=lambda path: {"name": Path(path).name}
    )
    index = RCCMemoryIndex.from_documents(reader.load_data(), collection="readers", **options)
    only = MetadataFilters(filters=[MetadataFilter(key="name", value="leave.md")])
    response = index.as_query_engine(filters=only).query(question)
    return [str(node.node.metadata["name"]) for node in response.source_nodes]


if __name__ == "__main__":
    print(main())
