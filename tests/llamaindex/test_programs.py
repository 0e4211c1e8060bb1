"""Programs as LlamaIndex's users write them, over a tiny random model: what is asked for is what happens."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

import pytest
from llama_index.core import ComposableGraph, Document, PromptTemplate, SimpleDirectoryReader, get_response_synthesizer
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.evaluation import RetrieverEvaluator
from llama_index.core.llms import ChatMessage, MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import QueryBundle
from llama_index.core.selectors import PydanticMultiSelector
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from pydantic import BaseModel

from rcc_integrations import RCCReader
from rcc_integrations.errors import ConfigError, EmptyDocumentError, GenerationError, UnknownArgumentError
from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex
from rcc_integrations.memory.store import MemoryStore
from tests.tiny import TEXT, tiny_model

CONTEXT = "Gulls sit on the wall of the harbour. Nobody sails in a storm. The bell rings twice.\n\n" * 12
QUESTION = "When does the ferry to Holm leave?"
NOTHING = MetadataFilters(filters=[MetadataFilter(key="kind", value="none")])


class Mast(BaseModel):
    """A mast."""

    height: int
    kind: Literal["fore", "main"]


class Boat(BaseModel):
    """A boat."""

    masts: list[Mast]
    sizes: dict[str, int]


class Part(BaseModel):
    """A part, which may hold parts."""

    name: Literal["hull", "deck"]
    parts: list[Part] = []
    under: Part | None = None


def build(boat: Boat) -> str:
    """Build a boat."""
    return "built"


# LlamaIndex does not resolve names that are written as strings.
build.__annotations__.update(boat=Boat)


class OnlyWith(BaseNodePostprocessor):
    """Keeps nodes with a word."""

    word: str

    def _postprocess_nodes(self, nodes: Any, query_bundle: Any = None) -> Any:
        return [node for node in nodes if self.word in node.node.get_content()]


@pytest.fixture
def roomy(tmp_path: Path) -> Generator[RCCReader]:
    """A reader over a tiny random model with many positions, for schemas that are told in the prompt."""
    with RCCReader.open(tmp_path / "roomy", model=tiny_model(base={"max_position_embeddings": 4096})) as reader:
        yield reader


def collections(index: Any) -> list[str]:
    return sorted(
        f"{each.name}/{one.id}" for each in index.reader.collections() for one in index.reader.documents(each.name)
    )


def test_a_prompt_of_context_and_question_keeps_the_question(index: RCCMemoryIndex) -> None:
    llm, before = RCCLLM(reader=index.reader, max_tokens=8, compress_over=100), collections(index)
    prompt = f"{CONTEXT}\n\nQuestion: {QUESTION}"
    said = llm.complete(prompt)
    assert said.text and said.raw["answer"].usage.memory_slots > 0 and collections(index) == before
    asked = llm._asked([ChatMessage(prompt)], {})
    assert asked.request.question == QUESTION and QUESTION in asked.request.turns[0].content
    synthesized = get_response_synthesizer(llm=llm).get_response(QUESTION, [CONTEXT])
    assert str(synthesized) and collections(index) == before


def test_counting_stores_nothing(index: RCCMemoryIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = RCCLLM(reader=index.reader, compress_over=50)
    monkeypatch.setattr(index.reader.model, "compress_batches", lambda *_: pytest.fail("counting compressed"))
    assert llm.count_tokens([ChatMessage(CONTEXT + QUESTION)]) > 20


@pytest.mark.parametrize("seed", range(3))
def test_tools_with_models_inside(roomy: RCCReader, seed: int) -> None:
    llm = RCCLLM(reader=roomy, max_tokens=2000, temperature=1.5, seed=seed)
    said = llm.chat_with_tools([FunctionTool.from_defaults(build)], "Build a boat.", tool_required=True)
    (call,) = llm.get_tool_calls_from_response(said)
    Boat.model_validate(call.tool_kwargs["boat"])
    assert isinstance(llm.structured_predict(Part, PromptTemplate("Name a part.")), Part)
    plain = llm.structured_predict(Mast, PromptTemplate("A mast?"))
    assert llm.structured_predict(Mast, PromptTemplate("A mast?"), llm_kwargs={"stop": ['"', "}"]}) == plain
    with pytest.raises(GenerationError, match="raise max_tokens"):
        llm.structured_predict(Mast, PromptTemplate("A mast?"), llm_kwargs={"max_tokens": 2})


def test_a_selector_of_the_framework(roomy: RCCReader) -> None:
    llm = RCCLLM(reader=roomy, max_tokens=2800)
    selector = PydanticMultiSelector.from_defaults(llm=llm)
    choices = [ToolMetadata(name="a", description="boats"), ToolMetadata(name="b", description="birds")]
    assert len(selector.select(choices, QueryBundle("Which boat?")).selections) <= 8


async def test_an_evaluation_finds_the_nodes(index: RCCMemoryIndex) -> None:
    retriever = index.as_retriever(similarity_top_k=2)
    evaluator = RetrieverEvaluator.from_metric_names(["hit_rate", "mrr"], retriever=retriever)
    expected = index.ref_doc_info["isle.md"].node_ids
    result = await evaluator.aevaluate("When was the lighthouse built?", expected)
    assert result.metric_vals_dict == {"hit_rate": 1.0, "mrr": 1.0}
    assert all(node.node_id in index.docstore.docs for node in retriever.retrieve("the isle and the ferry"))


def test_a_folder_read_again_is_not_doubled(tmp_path: Path, llm: RCCLLM, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.txt").write_text(f"The {name} ferry leaves.")

    def run(**options: Any) -> RCCMemoryIndex:
        return RCCMemoryIndex.from_documents(SimpleDirectoryReader(str(folder)).load_data(), llm=llm, **options)

    first = run()
    with caplog.at_level(logging.WARNING):
        second = run()
    assert second.collection == first.collection == "documents" and "filename_as_id" in caplog.text
    assert second.ref_doc_info.keys() == first.ref_doc_info.keys() and len(second.ref_doc_info) == 2
    (folder / "a.txt").write_text("The a ferry leaves at 8:15.")
    third = run(transformations=[SentenceSplitter(chunk_size=64, chunk_overlap=0)])
    texts = sorted(node.get_content() for node in third.docstore.docs.values())
    assert texts == ["The a ferry leaves at 8:15.", "The b ferry leaves."]
    # Ids that somebody chose are documents of their own.
    both = [Document(text="Same.", id_="x"), Document(text="Same.", id_="y")]
    assert len(RCCMemoryIndex.from_documents(both, llm=llm, collection="own").ref_doc_info) == 2


def test_a_talk_keeps_its_subject(index: RCCMemoryIndex) -> None:
    engine = index.as_chat_engine(max_windows=1, max_tokens=4, min_tokens=0, similarity_top_k=1)
    assert engine.chat("When was the lighthouse of the isle built?").source_nodes[0].node.ref_doc_id == "isle.md"
    assert engine.chat("And what does it say?").source_nodes[0].node.ref_doc_id == "isle.md"


def test_another_llm_takes_every_keyword(index: RCCMemoryIndex) -> None:
    template = PromptTemplate("{context_str} -- {query_str}")
    engine = index.as_query_engine(
        llm=MockLLM(), response_mode="compact", text_qa_template=template, similarity_top_k=1, use_async=True,
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.01)], verbose=True,
    )  # fmt: skip
    assert "1871" in str(engine.query("When was the lighthouse built?")) and " -- " in str(engine.query("lighthouse"))
    assert "".join(index.as_query_engine(llm=MockLLM(), streaming=True).query("lighthouse").response_gen)
    chat = index.as_chat_engine(
        chat_mode="context", llm=MockLLM(), system_prompt="Be brief.", memory=ChatMemoryBuffer.from_defaults(token_limit=900),
    )  # fmt: skip
    assert chat.chat("When was the lighthouse built?").source_nodes
    condense = index.as_chat_engine(chat_mode="condense_question", chat_history=[ChatMessage("Hello")], verbose=False)
    assert condense.chat("Who?").response


def test_our_engine_takes_them_too(index: RCCMemoryIndex) -> None:
    template = PromptTemplate("Context: {context_str}\nAnswer briefly: {query_str}")
    engine = index.as_query_engine(text_qa_template=template, verbose=True, use_async=True, max_tokens=5, min_tokens=0)
    said = engine.query("When was the lighthouse built?")
    assert said.metadata["usage"][0]["answer_tokens"] <= 5 and said.metadata["usage"][0]["memory_slots"] > 0
    for mode in ("simple_summarize", "compact_accumulate", "no_text", "generation"):
        assert index.as_query_engine(response_mode=mode).query("Who?") is not None
    own = get_response_synthesizer(llm=MockLLM())
    assert "1871" in str(index.as_query_engine(response_synthesizer=own).query("When was the lighthouse built?"))
    with pytest.raises(UnknownArgumentError, match="Did you mean 'similarity_top_k'"):
        index.as_query_engine(similarity_topk=3)
    with pytest.raises(ConfigError, match="simple_template"):
        index.as_query_engine(simple_template=template)
    with pytest.raises(ConfigError, match="QueryFusionRetriever"):
        index.as_retriever(vector_store_query_mode="hybrid")


def test_postprocessors_choose_what_is_read(index: RCCMemoryIndex) -> None:
    only = OnlyWith(word="lighthouse")
    engine = index.as_query_engine(similarity_top_k=3, node_postprocessors=[only])
    said = engine.query("Who approves leave on the isle of Holm?")
    assert [node.node.ref_doc_id for node in said.source_nodes] == ["isle.md"]
    assert said.metadata["usage"][0]["windows"] == 1
    none = OnlyWith(word="zeppelin")
    assert str(index.as_query_engine(node_postprocessors=[none]).query("Who approves leave?")) == "Empty Response"


def test_building_takes_what_other_indices_take(llm: RCCLLM, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        index = RCCMemoryIndex.from_documents(
            [Document(text=TEXT, id_="a")], llm=llm, collection="c", embed_model="local", use_async=True,
            insert_batch_size=8,
        )  # fmt: skip
    assert "embed_model has no effect: memory needs no embedding model" in caplog.text and not index.is_empty
    with pytest.raises(UnknownArgumentError, match="Did you mean 'collection'"):
        RCCMemoryIndex.from_documents([], llm=llm, colection="c")


def test_as_many_sources_as_are_asked_for_with_scores_that_compare(llm: RCCLLM) -> None:
    pages = [Document(text=f"Ferry number {n} leaves at {n} o'clock.", id_=str(n)) for n in range(12)]
    index = RCCMemoryIndex.from_documents(pages, llm=llm, collection="many")
    said = index.as_query_engine(similarity_top_k=10).query("When does ferry number 7 leave?")
    assert len(said.source_nodes) == 10 and said.source_nodes[0].node.ref_doc_id == "7"
    scores = [node.score or 0.0 for node in said.source_nodes]
    assert all(0 < score <= 1 for score in scores) and scores == sorted(scores, reverse=True)
    alike = index.as_retriever(similarity_top_k=1).retrieve("ferry")[0].score
    assert index.as_retriever(similarity_top_k=1).retrieve("ferry zeppelin submarine")[0].score < alike


def test_one_blank_page_stops_nothing(llm: RCCLLM, caplog: pytest.LogCaptureFixture) -> None:
    pages = [
        Document(text=text, id_=f"p{n}", metadata={"file_name": "a.pdf", "page_label": str(n)})
        for n, text in enumerate(["The ferry leaves.", " \n", "Nobody sails."])
    ]
    with caplog.at_level(logging.WARNING):
        index = RCCMemoryIndex.from_documents(pages, llm=llm, collection="pages")
        assert index.refresh_ref_docs(pages) == [False, False, False]
    assert list(index.ref_doc_info) == ["p0", "p2"] and "file 'a.pdf', page '1'" in caplog.text
    index.update_ref_doc(Document(text="", id_="p2"))
    assert list(index.ref_doc_info) == ["p0"]
    with pytest.raises(EmptyDocumentError, match=r"a\.pdf"):
        RCCMemoryIndex.from_documents(pages, llm=llm, collection="strict", strict=True)


async def test_nothing_to_answer_from_is_an_empty_response(llm: RCCLLM, index: RCCMemoryIndex) -> None:
    empty = RCCMemoryIndex(nodes=[], llm=llm, collection="empty")
    assert (
        str(empty.as_query_engine().query("Who?"))
        == str(await empty.as_query_engine().aquery("Who?"))
        == "Empty Response"
    )
    assert "".join(empty.as_query_engine(streaming=True).query("Who?").response_gen) == "Empty Response"
    assert str(index.as_query_engine(filters=NOTHING).query("Who?")) == "Empty Response"
    chat = empty.as_chat_engine()
    assert chat.chat("Who?").response == "Empty Response" and len(chat.chat_history) == 2
    assert "".join(chat.stream_chat("Who?").response_gen) == "Empty Response"


def test_an_index_at_the_root_of_a_graph(llm: RCCLLM, index: RCCMemoryIndex) -> None:
    other = RCCMemoryIndex.from_documents([Document(text="Eels swim at night.", id_="e")], llm=llm, collection="eels")
    graph = ComposableGraph.from_indices(
        RCCMemoryIndex, [index, other], index_summaries=["ferries and the isle", "eels and fish"], llm=llm
    )
    assert str(graph.as_query_engine().query("When do eels swim?"))
    assert str(index.as_query_engine().query("Who?"))


async def test_who_looks_on_sees_all_steps(reader: Any) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    index = RCCMemoryIndex.from_documents(
        [Document(text=TEXT, id_="a")], reader=reader, collection="c", max_tokens=8,
        callback_manager=CallbackManager([debug]),
    )  # fmt: skip
    index.as_query_engine().query("Who approves leave?")
    for kind in (CBEventType.QUERY, CBEventType.RETRIEVE, CBEventType.SYNTHESIZE, CBEventType.LLM):
        assert debug.get_event_pairs(kind), kind
    streamed = index.as_query_engine(streaming=True).query("Who approves leave?")
    assert streamed.metadata == {} and "".join(streamed.response_gen)
    assert streamed.metadata["collection"] == "c" and streamed.metadata["usage"][0]["answer_tokens"] == 8
    chat = index.as_chat_engine().stream_chat("Who approves leave?")
    text = "".join(chat.response_gen)
    assert chat.is_done and chat.response == text == str(chat) and chat.metadata["collection"] == "c"
    achat = await index.as_chat_engine().astream_chat("Who approves leave?")
    assert "".join([piece async for piece in achat.async_response_gen()]) == text and achat.is_done


def test_a_change_reads_no_more_than_it_changes(llm: RCCLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Document(text=f"Ferry {n} leaves.", id_=str(n), metadata={"n": n}) for n in range(40)]
    index = RCCMemoryIndex.from_documents(pages, llm=llm, collection="many")
    for name in ("snapshot", "documents"):
        monkeypatch.setattr(MemoryStore, name, lambda *_: pytest.fail("the whole collection was read"))
    index.insert(Document(text="Ferry 99 leaves.", id_="99", metadata={"n": 99}))
    index.update_ref_doc(Document(text="Ferry 3 has left.", id_="3", metadata={"n": -3}))
    assert index.refresh_ref_docs(pages[4:9]) == [False] * 5
    index.delete_ref_doc("7", delete_from_docstore=True)
    index.delete_nodes(index.ref_doc_info["8"].node_ids)
    below = MetadataFilters(filters=[MetadataFilter(key="n", value=2, operator="<")])
    assert index.choose(below) == ["0", "1", "3"] and index.choose(None, ["5"]) == ["5"]
    assert len(index.ref_doc_info) == 39 and "7#whole" not in index.index_struct.nodes
    monkeypatch.undo()
    with pytest.raises(Exception, match="'7'"):
        index.choose(None, ["7"])
    # Another writer is noticed.
    index.reader.add("many", {"other": "Eels swim at night."})
    assert "other" in index.ref_doc_info


CANCELLED = """
import asyncio, sys, time
from llama_index.core import Document
from rcc_integrations.llamaindex import RCCMemoryIndex

async def main():
    index = RCCMemoryIndex(nodes=[], store=sys.argv[1], model=sys.argv[2], collection="c")
    index.reader.model
    text = " ".join(f"Ferry {n} leaves at {n} o'clock." for n in range(200000))
    task = asyncio.create_task(index.ainsert(Document(text="Short.", id_="first")))
    await task
    task = asyncio.create_task(index.ainsert_nodes([Document(text=f"{n} " + text[n * 2000 : (n + 40) * 2000], id_=str(n)) for n in range(60)]))
    await asyncio.sleep(1.0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("cancelled", flush=True)
    await index.ainsert(Document(text="Another.", id_="last"))
    print(len(index.ref_doc_info) < 62, "last" in index.ref_doc_info, flush=True)

asyncio.run(main())
"""


def test_a_cancelled_insert_stops_and_lets_the_process_end(tmp_path: Path, saved_model: Path) -> None:
    done = subprocess.run([sys.executable, "-c", CANCELLED, str(tmp_path / "s"), str(saved_model)], capture_output=True,
                          text=True, check=False, timeout=300)  # fmt: skip
    assert done.stdout.split() == ["cancelled", "True", "True"], done.stderr


async def test_words_stream_although_there_are_tools(index: RCCMemoryIndex) -> None:
    llm = RCCLLM(reader=index.reader, max_tokens=30, min_tokens=20, temperature=1.0, seed=1)
    tools = [FunctionTool.from_defaults(build)]
    parts = [part async for part in await llm.astream_chat_with_tools(tools, "Hello")]
    calls = llm.get_tool_calls_from_response(parts[-1], error_on_no_tool_call=False)
    assert calls or sum(bool(part.delta) for part in parts) > 3
    assert calls or "".join(str(part.delta) for part in parts) == parts[-1].message.content


def test_metadata_are_known_before_anything_is_loaded(tmp_path: Path, saved_model: Path) -> None:
    with RCCLLM(store=tmp_path / "s", model=str(saved_model)) as llm:
        before = llm.metadata.context_window
        assert not llm._memory.is_open
        assert before == llm.memory.model.reach == llm.metadata.context_window


def test_indices_of_one_store_share_their_reader(tmp_path: Path, saved_model: Path) -> None:
    with RCCMemoryIndex(nodes=[], store=tmp_path / "s", model=saved_model, collection="a") as one:
        two = RCCMemoryIndex(nodes=[], store=tmp_path / "s", model=saved_model, collection="b")
        assert one.reader is two.reader
        two.close()
        assert not one.reader.closed
    assert one.reader.closed


async def test_a_gathering_of_inserts(llm: RCCLLM) -> None:
    index = RCCMemoryIndex(nodes=[], llm=llm, collection="gathered")
    await asyncio.gather(*(index.ainsert(Document(text=f"Gull {n}.", id_=str(n))) for n in range(6)))
    assert sorted(index.ref_doc_info) == [str(n) for n in range(6)] and len(index.index_struct.nodes) == 6
