"""One LCEL chain, with a retriever and a prompt, and with compressed memory.

python examples/langchain/replace_your_retriever.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnablePassthrough

from rcc_integrations import RCCReader
from rcc_integrations.langchain import RCCChatModel, RCCDocumentIndex

DATA = Path(__file__).parent.parent / "data"


def before(reader: RCCReader) -> Runnable[str, str]:
    """A retriever finds passages, and the model reads them again for every question."""
    prompt = ChatPromptTemplate.from_template("{context}\n\n{question}")
    retriever = RCCDocumentIndex(reader=reader, collection="handbook", k=2)
    context = retriever | (lambda found: "\n\n".join(document.page_content for document in found))
    model = RCCChatModel(reader=reader, compress_over=None)
    return {"context": context, "question": RunnablePassthrough()} | prompt | model | StrOutputParser()


def after(reader: RCCReader) -> Runnable[str, str]:
    """The documents are in memory: there is no retriever, and no prompt with passages."""
    return RCCChatModel(reader=reader, collection="handbook") | StrOutputParser()


def main(store: str = "memory", question: str = "When does the ferry leave?") -> tuple[str, str]:
    """Add the documents once, then ask both chains."""
    with RCCReader.open(store) as reader:
        reader.add("handbook", {path.name: path.read_text("utf-8") for path in sorted(DATA.glob("*.md"))})
        answers = before(reader).invoke(question), after(reader).invoke(question)
    return answers


if __name__ == "__main__":
    for name, answer in zip(("before", "after"), main(*sys.argv[1:]), strict=True):
        print(f"{name}: {answer}")
