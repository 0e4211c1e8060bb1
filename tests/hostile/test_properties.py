"""Names, texts, windows and spans: refused with a clear error, or kept exactly, for any Unicode."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rcc_integrations import RCCReader
from rcc_integrations.errors import ConfigError, EmptyDocumentError, InvalidNameError
from rcc_integrations.memory.names import check_collection_name, check_document_id
from rcc_integrations.memory.store import MemoryStore
from tests.memory.conftest import key_for, memory, window

# Any code point, half surrogates and control characters among them, and what has broken other programs.
ODD = ["..", ".", "/", "\\", "CON", "a:b", "%", "name:", "document:", "\u202e", "e\u0301", "\u00e9", "ﬁ", "İ", "ß", "K",
       "\U000e0001", "\ufeff", "\u200d", "\ufffe", "\U0010ffff", "가", "가", "%s", "{0}", "'; --", "*", "$HOME", "~"]  # fmt: skip
anything = st.text(st.characters(), max_size=12)
plain = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="/\\"), min_size=1, max_size=12
)
names = plain | plain | anything | st.sampled_from(ODD) | st.lists(st.sampled_from(ODD), max_size=4).map("".join)
pieces = st.lists(st.sampled_from([*ODD, "\r\n", "\n\n", "\0", "a ", ". "]), min_size=1, max_size=40).map("".join)
texts = plain | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200) | pieces | anything


def examples(number: int) -> settings:
    return settings(max_examples=number, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


READ = """
import json, sys
from rcc_integrations.memory.store import MemoryStore
with MemoryStore.open(sys.argv[1], read_only=True) as store:
    found = {
        collection.name: {each.id: [store.text(each.text_key), each.metadata] for each in store.documents(collection.name)}
        for collection in store.collections()
    }
sys.stdout.buffer.write(json.dumps(found).encode())
"""


def good(check: Any, name: str) -> str | None:
    try:
        return str(check(name))
    except InvalidNameError as error:
        assert str(error)
        return None


def test_any_name_and_text_is_refused_or_kept_also_for_another_process(tmp_path: Path) -> None:
    path = tmp_path / "store"
    kept: dict[str, dict[str, Any]] = {}
    with MemoryStore.open(path) as store:

        @examples(60)
        @given(names, names, names, texts, st.sampled_from([True, True, True, False]))
        def check(name: str, other: str, document: str, text: str, stays: bool) -> None:
            if good(check_collection_name, name) is None:
                with pytest.raises(InvalidNameError):
                    store.create_collection(name, fingerprint="f", model={})
                return
            before = {record.name: record for record in store.collections()}
            record = store.create_collection(name, fingerprint="f", model={})
            assert record.name == unicodedata.normalize("NFC", name)
            assert store.collection(name) == store.collection(record.name) == record
            store.put_blobs({key_for("w"): memory()})
            try:
                put = store.put_document(name, document, text, windows=[window("w", len(text))], tokens=1, digest="",
                                         metadata={"text": text})  # fmt: skip
            except InvalidNameError:
                assert good(check_document_id, document) is None
            except ConfigError as error:
                assert "surrogate" in str(error)
            else:
                with MemoryStore.open(path) as again:
                    assert again.document(name, document) == put and put.id == document
                    assert again.text(put.text_key) == text and put.metadata == {"text": text}
                    assert document in [each.id for each in again.documents(name)]
                if stays or record.name in before:
                    kept.setdefault(record.name, {})[document] = [text, {"text": text}]
                else:
                    store.delete_documents(name, [document])
                    assert document not in [each.id for each in store.documents(name)]
            new = good(check_collection_name, other)
            if new is not None and new not in before and new != record.name:
                assert store.rename_collection(name, other).name == new
                assert store.collection(other).uid == record.uid
                store.rename_collection(new, name)
            if record.name not in kept:
                store.drop_collection(name)
            assert {each.name for each in store.collections()} == set(kept)

        check()
        assert store.verify().ok
    assert sum(map(len, kept.values())) > 5
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, check=True)
    assert json.loads(done.stdout) == kept


@pytest.fixture(scope="module")
def reader(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with RCCReader.open(tmp_path_factory.mktemp("properties") / "store", model=model) as reader:
        yield reader


@examples(20)
@given(
    st.lists(texts, min_size=1, max_size=3), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
)
def test_windows_tile_any_text_and_every_span_lies_in_it(reader: RCCReader, texts: list[str], question: str) -> None:
    documents = {f"{number}.txt": text * (1 + 20 * (number == 2)) for number, text in enumerate(texts)}
    try:
        reader.add("odd", documents)
    except (EmptyDocumentError, ConfigError) as error:
        assert any(not text.strip() for text in texts) or "surrogate" in str(error)
        if "odd" in [record.name for record in reader.collections()]:
            reader.drop("odd")
        return
    try:
        limit = reader.model.config.window
        for record in reader.store.documents("odd"):
            text = reader.text("odd", record.id)
            assert text == documents[record.id] and record.characters == len(text)
            spans = [(each.start, each.end) for each in record.windows]
            assert spans[0][0] == 0 and spans[-1][1] == len(text)
            assert all(before[1] == after[0] for before, after in pairwise(spans))
            assert all(0 < each.tokens <= limit for each in record.windows)
        found = reader.search("odd", texts[0], k=10)
        if question.strip():
            found += reader.ask("odd", question, max_new_tokens=1).sources
        for source in found:
            assert documents[source.document][source.start : source.end] == source.text
    finally:
        reader.drop("odd")
