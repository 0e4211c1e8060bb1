"""A conversation about a handbook: the history stays uncompressed, and the documents stay in memory.

python examples/langchain/chat_with_history.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage

from rcc_integrations import RCCReader
from rcc_integrations.langchain import RCCChatModel, create_memory_chain

DATA = Path(__file__).parent.parent / "data"


def talk(reader: RCCReader, questions: Iterable[str]) -> list[BaseMessage]:
    """Ask one question after the other, each with the whole history."""
    chain = create_memory_chain(RCCChatModel(reader=reader, collection="handbook", max_tokens=64))
    history: list[BaseMessage] = []
    for question in questions:
        answered = chain.invoke({"input": question, "chat_history": history})
        history += [HumanMessage(question), AIMessage(answered["answer"])]
        print(f"{question}\n  {answered['answer']}")
        for document in answered["context"][:1]:
            print(f"  [{document.metadata['document']}, {document.metadata['start']}-{document.metadata['end']}]")
    return history


def main(store: str = "memory") -> list[BaseMessage]:
    """Add the documents once, then talk."""
    with RCCReader.open(store) as reader:
        reader.add("handbook", {path.name: path.read_text("utf-8") for path in sorted(DATA.glob("*.md"))})
        return talk(reader, ["Who approves leave?", "When does the ferry leave?", "What does a ticket cost?"])


if __name__ == "__main__":
    main()
