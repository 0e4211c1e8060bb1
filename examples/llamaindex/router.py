"""A router over two memory indices: the model selects one of them, by constrained decoding.

python examples/llamaindex/router.py
"""

from __future__ import annotations

from pathlib import Path

from llama_index.core import Document
from llama_index.core.query_engine import RouterQueryEngine
from llama_index.core.tools import QueryEngineTool

from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex, RCCSelector

DATA = Path(__file__).parent.parent / "data"


def make_router(llm: RCCLLM) -> RouterQueryEngine:
    """Build an index of each kind of document and a router over them; they share one model and one store."""
    tools = []
    for name, about in (("ferry.md", "Times and prices of the ferry."), ("leave.md", "Rules for leave.")):
        document = Document(id_=name, text=(DATA / name).read_text("utf-8"))
        index = RCCMemoryIndex.from_documents([document], llm=llm, collection=f"router-{name}")
        tools.append(QueryEngineTool.from_defaults(index.as_query_engine(), name=name[:-3], description=about))
    return RouterQueryEngine.from_defaults(tools, llm=llm, selector=RCCSelector(llm))


def main(store: str = "memory", question: str = "When does the ferry leave?") -> str:
    """Ask the router."""
    return str(make_router(RCCLLM(store=Path(store))).query(question))


if __name__ == "__main__":
    print(main())
