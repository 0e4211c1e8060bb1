"""Keep an index in step with a folder: unchanged files cost nothing, and removed files are deleted.

python examples/llamaindex/refresh_folder.py docs/
"""

from __future__ import annotations

import sys
from pathlib import Path

from llama_index.core import Document

from rcc_integrations import RCCReader
from rcc_integrations.files import find_files
from rcc_integrations.llamaindex import RCCMemoryIndex


def open_index(reader: RCCReader) -> RCCMemoryIndex:
    """Open the index of the folder, or create it."""
    return RCCMemoryIndex(nodes=[], reader=reader, collection="folder")


def sync(folder: Path, index: RCCMemoryIndex) -> tuple[int, int]:
    """Synchronise the index with the folder; return how many documents were added and removed."""
    files, _ = find_files(folder)
    documents = [Document(id_=file.id, text=file.text, metadata=file.metadata) for file in (f.read() for f in files)]
    gone = index.ref_doc_info.keys() - {document.id_ for document in documents}
    for name in sorted(gone):
        index.delete_ref_doc(name, delete_from_docstore=True)
    return sum(index.refresh_ref_docs(documents)), len(gone)


def main(folder: str, store: str = "memory") -> tuple[int, int]:
    """Sync a folder."""
    with RCCReader.open(store) as reader:
        return sync(Path(folder), open_index(reader))


if __name__ == "__main__":
    print("put in {}, taken out {}".format(*main(*sys.argv[1:])))
