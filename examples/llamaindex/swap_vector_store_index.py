"""`RCCMemoryIndex` in place of `VectorStoreIndex`: the same five lines, without an embedding model.

python examples/llamaindex/swap_vector_store_index.py
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader

from rcc_integrations.llamaindex import RCCMemoryIndex

DATA = Path(__file__).parent.parent / "data"


def main(question: str = "Who approves leave?", **options: Any) -> str:
    """Read a folder, build the index, ask."""
    documents = SimpleDirectoryReader(str(DATA), required_exts=[".md"], filename_as_id=True).load_data()
    # index = VectorStoreIndex.from_documents(documents)
    index = RCCMemoryIndex.from_documents(documents, collection="swap", **options)
    response = index.as_query_engine().query(question)
    return f"{response}\n{response.get_formatted_sources()}"


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
