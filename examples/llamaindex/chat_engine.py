"""A streamed conversation about a handbook: the history stays uncompressed, and the documents stay in memory.

python examples/llamaindex/chat_engine.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from llama_index.core import Document
from llama_index.core.schema import TextNode

from rcc_integrations.llamaindex import RCCMemoryIndex

DATA = Path(__file__).parent.parent / "data"


def talk(index: RCCMemoryIndex, questions: Iterable[str]) -> int:
    """Ask one question after the other; return the number of messages in the history."""
    engine = index.as_chat_engine(system_prompt="Answer briefly.")
    for question in questions:
        print(question)
        answer = engine.stream_chat(question)
        answer.print_response_stream()
        for node in answer.source_nodes[:1]:
            passage = node.node
            assert isinstance(passage, TextNode)
            print(f"\n  [{passage.ref_doc_id}, {passage.start_char_idx}-{passage.end_char_idx}]")
    return len(engine.chat_history)


def main(store: str = "memory") -> int:
    """Add the documents once, then talk."""
    documents = [Document(id_=path.name, text=path.read_text("utf-8")) for path in sorted(DATA.glob("*.md"))]
    index = RCCMemoryIndex.from_documents(documents, store=store, collection="handbook-chat")
    return talk(index, ["Who approves leave?", "When does the ferry leave?", "What does a ticket cost?"])


if __name__ == "__main__":
    main()
