"""Every way to the same documents leaves the same memory and the same answers as a freshly built index."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, load_index_from_storage
from llama_index.core.node_parser import SentenceSplitter

from rcc_integrations.llamaindex import RCCLLM, RCCMemoryIndex, WholeDocuments
from tests.tiny import TEXT

LONG = TEXT + " Gulls sit on the wall. Nobody sails in a storm." * 30
SHAPES: dict[str, list[str]] = {
    "one short": ["The warden approves leave."],
    "several": [TEXT, "The isle of Holm has nine farms.", "Nobody sails in a storm."],
    "long": [LONG, "The bell rings twice."],
    "equal texts": ["The bell rings twice.", "The bell rings twice.", TEXT],
    "unicode": ["Ærø — 渡船は七時に出る。 ☃", "La cloche sonne à midi.\r\n\r\nFin."],
}
PARSERS: dict[str, Any] = {
    "whole": None,
    "parsed": lambda: [SentenceSplitter(chunk_size=40, chunk_overlap=0)],
}


def made(texts: list[str]) -> list[Document]:
    return [Document(text=text, id_=f"{n}.md", metadata={"n": n}) for n, text in enumerate(texts)]


def state(index: RCCMemoryIndex) -> Any:
    """All that answers hang on: memories in order, texts, places, sources, metadata."""
    if index.is_empty:
        return []
    sources = {id: source for source, info in index.ref_doc_info.items() for id in info.node_ids}
    found = []
    for record, stored in zip(index.reader.documents(index.collection), index._contents.stored(), strict=True):
        windows = [(window.key, window.start, window.end) for window in record.windows]
        text = index.reader.store.text(record.text_key)
        found.append((sources[stored.node], text, stored.metadata, stored.hash, windows))
    return found


def docstore(index: RCCMemoryIndex) -> Any:
    nodes = sorted(
        (node.ref_doc_id or "", node.get_content(), str(node.metadata)) for node in index.docstore.docs.values()
    )
    infos = index.docstore.get_all_ref_doc_info() or {}
    return nodes, sorted((name, len(info.node_ids)) for name, info in infos.items())


async def build(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> tuple[RCCMemoryIndex, list[Document]]:
    return index, documents


async def insert(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    new = Document(text="A new page, about eels.", id_="new.md")
    index.insert(new)
    return index, [*documents, new]


async def ainsert(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    new = Document(text="A new page, about eels.", id_="new.md")
    await index.ainsert(new)
    return index, [*documents, new]


def edited(document: Document) -> Document:
    return Document(text=document.text + " It was changed.", id_=document.id_, metadata={"n": -1})


async def update(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    index.update_ref_doc(edited(documents[-1]))
    return index, [*documents[:-1], edited(documents[-1])]


async def aupdate(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    await index.aupdate_ref_doc(edited(documents[-1]))
    return index, [*documents[:-1], edited(documents[-1])]


async def delete(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    index.delete_ref_doc(documents[0].id_, delete_from_docstore=True)
    return index, documents[1:]


async def adelete(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    await index.adelete_ref_doc(documents[0].id_, delete_from_docstore=True)
    return index, documents[1:]


async def insert_nodes(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    new = Document(text="A new page, about eels.", id_="new.md", metadata={"n": 9})
    index.insert_nodes(WholeDocuments()([new]))
    return index, [*documents, new]


async def ainsert_nodes(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    new = Document(text="A new page, about eels.", id_="new.md", metadata={"n": 9})
    await index.ainsert_nodes(WholeDocuments()([new]))
    return index, [*documents, new]


async def adelete_nodes(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    await index.adelete_nodes(index.ref_doc_info[documents[-1].id_].node_ids, delete_from_docstore=True)
    return index, documents[:-1]


async def delete_nodes(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    index.delete_nodes(index.ref_doc_info[documents[-1].id_].node_ids, delete_from_docstore=True)
    return index, documents[:-1]


async def refresh(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    wanted = [*documents[:-1], edited(documents[-1])]
    assert index.refresh_ref_docs(wanted) == [False] * (len(documents) - 1) + [True]
    assert index.refresh_ref_docs(wanted) == [False] * len(documents)
    return index, wanted


async def arefresh(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    wanted = [*documents[:-1], edited(documents[-1])]
    assert await index.arefresh_ref_docs(wanted) == [False] * (len(documents) - 1) + [True]
    return index, wanted


async def reload(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    index.storage_context.persist(str(tmp / "persisted"))
    context = StorageContext.from_defaults(persist_dir=str(tmp / "persisted"))
    return load_index_from_storage(context, llm=index.llm), documents


async def reopen(index: RCCMemoryIndex, documents: list[Document], tmp: Path) -> Any:
    return RCCMemoryIndex.from_store(index.reader, index.collection, llm=index.llm), documents


STEPS: list[Callable[..., Awaitable[Any]]] = [
    build, insert, ainsert, insert_nodes, ainsert_nodes, update, aupdate, delete, adelete, delete_nodes, adelete_nodes,
    refresh, arefresh, reload, reopen,
]  # fmt: skip


def fresh(llm: RCCLLM, documents: list[Document], name: str, parser: str) -> RCCMemoryIndex:
    chosen = PARSERS[parser]() if PARSERS[parser] else None
    return RCCMemoryIndex.from_documents(documents, llm=llm, collection=name, transformations=chosen)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
async def test_equal_to_a_fresh_index(llm: RCCLLM, tmp_path: Path, shape: str, parser: str, step: Any) -> None:
    index, documents = await step(fresh(llm, made(SHAPES[shape]), "index", parser), made(SHAPES[shape]), tmp_path)
    other = fresh(llm, documents, "fresh", parser)
    assert state(index) == state(other)
    assert docstore(index) == docstore(other)
    assert index.ref_doc_info.keys() == {document.id_ for document in documents}


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("seed", range(3))
async def test_a_walk_ends_where_a_fresh_index_begins(llm: RCCLLM, tmp_path: Path, seed: int, parser: str) -> None:
    random, there = Random(seed), dict[str, Document]()
    index = fresh(llm, made(SHAPES["several"]), "index", parser)
    there |= {document.id_: document for document in made(SHAPES["several"])}

    def some() -> Document:
        text = random.choice(SHAPES["several"] + SHAPES["unicode"]) * random.randint(1, 3)
        return Document(text=text, id_=f"{random.randrange(6)}.md", metadata={"n": random.randrange(2)})

    for number in range(20):
        act, document = random.choice(["insert", "update", "refresh", "delete", "reload"]), some()
        if act == "reload":
            index, _ = await reload(index, [], tmp_path / str(number))
            index._transformations = PARSERS[parser]() if PARSERS[parser] else index._transformations
        elif act == "delete":
            gone = random.choice(sorted(there))
            await index.adelete_ref_doc(gone, delete_from_docstore=True)
            del there[gone]
            if not there:
                index.insert(document)
                there[document.id_] = document
        elif act == "refresh":
            several = {each.id_: each for each in (document, some(), some())}
            changed = [there.get(name) is None or there[name].hash != each.hash for name, each in several.items()]
            assert await index.arefresh_ref_docs(list(several.values())) == changed
            there |= several
        else:
            index.insert(document) if act == "insert" else await index.aupdate_ref_doc(document)
            there[document.id_] = document
    # What a node parser cut anew stands at the end; whole documents keep their places.
    other = fresh(llm, [there[name] for name in index.ref_doc_info], "fresh", parser)
    assert state(index) == state(other) and docstore(index) == docstore(other)
    assert index.ref_doc_info.keys() == there.keys()
    question = "Who approves leave?"
    assert str(index.as_query_engine().query(question)) == str(other.as_query_engine().query(question))


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_every_way_of_asking_gives_one_answer(llm: RCCLLM, shape: str, parser: str) -> None:
    index = fresh(llm, made(SHAPES[shape]), "index", parser)
    question = "Who approves leave?"
    wanted = index.reader.ask("index", question, max_new_tokens=16, min_new_tokens=6)
    said = index.as_query_engine().query(question)
    assert str(said) == wanted.text
    assert [node.node.get_content() for node in said.source_nodes] == [source.text for source in wanted.sources]
    assert str(await index.as_query_engine().aquery(question)) == wanted.text
    assert "".join(index.as_query_engine(streaming=True).query(question).response_gen) == wanted.text
    streamed = await index.as_query_engine(streaming=True).aquery(question)
    assert "".join([piece async for piece in streamed.async_response_gen()]) == wanted.text
    assert index.as_chat_engine().chat(question).response == wanted.text
    assert (await index.as_chat_engine().achat(question)).response == wanted.text
    assert "".join(index.as_chat_engine().stream_chat(question).response_gen) == wanted.text
    chat = await index.as_chat_engine().astream_chat(question)
    assert "".join([piece async for piece in chat.async_response_gen()]) == wanted.text
