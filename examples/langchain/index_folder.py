"""Keep a collection in step with a folder by LangChain's indexing API; nothing is compressed twice.

python examples/langchain/index_folder.py docs/
"""

from __future__ import annotations

import sys
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.indexing import IndexingResult, InMemoryRecordManager, index

from rcc_integrations import RCCReader
from rcc_integrations.files import find_files
from rcc_integrations.langchain import RCCDocumentIndex


def sync(folder: Path, documents: RCCDocumentIndex, records: InMemoryRecordManager) -> IndexingResult:
    """Synchronise the collection with the folder; return how many documents were added, updated, skipped, deleted."""
    files, _ = find_files(folder)
    read = [file.read() for file in files]
    found = [Document(page_content=each.text, metadata={"source": each.id}) for each in read]
    return index(found, records, documents, cleanup="full", source_id_key="source", key_encoder="sha256")


def main(folder: str, store: str = "memory") -> IndexingResult:
    """Index a folder. Use a record manager with a database to remember what was indexed between runs."""
    records = InMemoryRecordManager(namespace="folder")
    records.create_schema()
    with RCCReader.open(store) as reader:
        return sync(Path(folder), RCCDocumentIndex(reader=reader, collection="folder"), records)


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
