"""Repair never loses: what is damaged is rebuilt or named, what is sound stays, what is taken out is kept."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rcc_integrations import RCCReader
from rcc_integrations.document import Document
from rcc_integrations.errors import CorruptBlobError, FingerprintMismatchError, RCCError, StoreError
from rcc_integrations.memory.store import MemoryStore
from tests.faults.support import model, open_reader, start, text_of
from tests.tiny import tiny_model

TEXTS = {f"d{number}.md": text_of(random.Random(number), 3) for number in range(10)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("repair") / "store"
    with open_reader(path) as reader:
        reader.add("boats", TEXTS)
        reader.add("more", {"a.md": TEXTS["d0.md"]}, ratio=2)
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "store")


def run(path: Path, statement: str, *values: Any) -> None:
    connection = sqlite3.connect(path / "index" / "cache.db")
    with connection:
        connection.execute(statement, values)
    connection.close()


def forget_backups(path: Path) -> None:
    shutil.rmtree(path / "backup", ignore_errors=True)


def texts(reader: RCCReader, collection: str = "boats") -> dict[str, str]:
    return {record.id: reader.text(collection, record.id) for record in reader.documents(collection)}


def sound_files(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for part in ("blobs", "texts") for file in (path / part).rglob("*.*")}


def records(path: Path) -> list[dict[str, Any]]:
    """Return what the records of lost+found tell."""
    files = sorted((path / "lost+found").glob("*/record.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


DAMAGES = {
    "revision": ('"revision"', '"revizipn"'),
    "name": ('"name":"boats"', '"name":"goaps"'),
    "fingerprint": ('"fingerprint":"', '"fingerpsimt":"'),
    "model": ('"ratio"', '"razip"'),
}


@pytest.mark.parametrize("backup", [True, False], ids=["backup", "no backup"])
@pytest.mark.parametrize("damage", [*DAMAGES, "gone"])
def test_a_collections_record_is_rebuilt_and_its_documents_stay(path: Path, damage: str, backup: bool) -> None:
    if not backup:
        forget_backups(path)
    with open_reader(path) as reader:
        before, uid = reader.store.snapshot("boats"), reader.store.collection("boats").uid
    if damage == "gone":
        run(path, "DELETE FROM Cache WHERE key = ?", f"collection:{uid}")
    else:
        run(path, "UPDATE Cache SET value = replace(value, ?, ?) WHERE key = ?", *DAMAGES[damage], f"collection:{uid}")
    there = sound_files(path)
    with open_reader(path) as reader:
        assert not reader.verify().ok
        report = reader.verify(repair=True, grace=0)
        assert report.ok, report.problems
        assert texts(reader) == TEXTS and sound_files(path) == there
        after = reader.store.snapshot("boats")
        assert after.documents == before.documents
        for field in ("uid", "name", "fingerprint", "model", "storage", "documents", "windows", "tokens", "slots"):
            assert getattr(after.collection, field) == getattr(before.collection, field), field
        # (uid, revision) names one content for ever.
        assert after.collection.revision > before.collection.revision
        assert reader.ask("boats", "Which boat?", max_new_tokens=2).usage.windows > 0
        assert reader.verify(grace=0).problems == ()


def test_a_collections_record_is_rebuilt_by_the_model_at_hand_alone(path: Path) -> None:
    """Rows of the format before say nothing of the model: the keys of the memories prove it."""
    forget_backups(path)
    with open_reader(path) as reader:
        before = reader.store.snapshot("more")
        other = reader.store.collection("boats").uid
    run(path, "DELETE FROM Cache WHERE key = ?", f"collection:{before.collection.uid}")
    from rcc_integrations.memory.json_disk import seal_of

    connection = sqlite3.connect(path / "index" / "cache.db")
    with connection:
        for key, value in connection.execute("SELECT key, value FROM Cache WHERE key LIKE 'blob:%'").fetchall():
            text = json.dumps({k: v for k, v in json.loads(value).items() if k != "fingerprint"}, separators=(",", ":"))
            connection.execute("UPDATE Cache SET value = ?, tag = ? WHERE key = ?", (text, seal_of(key, text), key))
    connection.close()
    # A store without a model touches nothing of it.
    there = sound_files(path)
    with MemoryStore.open(path) as store:
        assert not store.verify(repair=True, grace=0).ok and sound_files(path) == there
    with RCCReader.open(path, model=tiny_model(seed=5)) as reader:
        assert not reader.verify(repair=True, grace=0).ok and sound_files(path) == there
    with open_reader(path) as reader:
        assert reader.verify(repair=True, grace=0).ok
        after = reader.store.snapshot("more")
        assert after.documents == before.documents and after.collection.model["ratio"] == 2
        assert after.collection.fingerprint == before.collection.fingerprint and other != after.collection.uid


@pytest.fixture
def one_descriptor() -> Iterator[Callable[[], None]]:
    """Leaves this process one free file descriptor when it is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def limit() -> None:
        used = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors as Linux does")
@pytest.mark.parametrize("spare", range(4))
def test_files_that_cannot_be_opened_for_want_of_descriptors_are_left_alone(path: Path, spare: int) -> None:
    there, (soft, hard) = sound_files(path), resource.getrlimit(resource.RLIMIT_NOFILE)
    reader = open_reader(path)
    # Connections are open; what is missing is room for one more file.
    reader.store.verify()
    reader.store.verify(repair=True)
    held = []
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    used = max(int(name) for name in os.listdir("/proc/self/fd")) + 1
    try:
        for _ in range(used - lowest):
            descriptor = os.open(os.devnull, os.O_RDONLY)
            held.append(descriptor)
        for descriptor in held[:spare]:
            os.close(descriptor)
        del held[:spare]
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, hard))
        try:
            report = reader.store.verify(repair=True, grace=0)
            assert spare or not report.ok
        except StoreError as error:
            assert "descriptor" in str(error) or "open" in str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)
    assert sound_files(path) == there
    assert reader.store.verify(grace=0).problems == ()
    reader.close()


def repair_as_nobody(path: Path, result: Path) -> None:
    if os.getuid() == 0:
        os.setuid(65534)
    with open_reader(path) as reader:
        report = reader.store.verify(repair=True, grace=0)
        kinds = sorted({problem.kind for problem in report.problems})
        try:
            reader.text("boats", "d0.md")
            said = ""
        except RCCError as error:
            said = f"{type(error).__name__} {error}"
    result.write_text(json.dumps([report.ok, kinds, said]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="users are those of Unix")
def test_a_file_without_permission_is_no_damaged_file(path: Path) -> None:
    # Not under tmp_path: that is closed to the user that root has to become here.
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)
        shutil.copytree(path, Path(folder, "store"))
        path = Path(folder, "store")
        with MemoryStore.open(path) as store:
            key = store.document("boats", "d0.md").text_key
            blob = sorted(store.document("boats", "d1.md").keys)[0]
        for item in [path, *path.rglob("*")]:
            item.chmod(0o777 if item.is_dir() else 0o666)
        closed = [path / "texts" / key[:2] / f"{key}.txt", path / "blobs" / blob[:2] / f"{blob}.safetensors"]
        for file in closed:
            file.chmod(0)
        there, result = sound_files(path), Path(folder, "result")
        process = start(repair_as_nobody, path, result)
        process.join()
        assert process.exitcode == 0
        ok, kinds, said = json.loads(result.read_text())
        assert not ok and kinds == ["unreadable"] and "Permission denied" in said and "damaged" not in said
        assert sound_files(path) == there
        for file in closed:
            file.chmod(0o666)
        with open_reader(path) as reader:
            assert reader.verify(grace=0).problems == () and texts(reader) == TEXTS


@pytest.mark.parametrize("how", ["flipped", "gone", "cut"])
@pytest.mark.parametrize("repaired", [False, True])
def test_a_damaged_text_is_repaired_as_told(path: Path, how: str, repaired: bool) -> None:
    with open_reader(path) as reader:
        key = reader.store.document("boats", "d3.md").text_key
    file = path / "texts" / key[:2] / f"{key}.txt"
    if how == "gone":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[5] ^= 4
        file.write_bytes(data if how == "flipped" else data[:-3])
    with open_reader(path) as reader:
        if repaired:
            report = reader.verify(repair=True, grace=0)
            assert [(one.document, one.text_intact) for one in report.damaged] == [("d3.md", False)]
            assert file.exists() is False
        # One bad text disables one document, not the collection.
        answer = reader.ask("boats", "Which boat?", max_new_tokens=2, max_windows=100)
        windows = sum(len(one.windows) for one in reader.documents("boats") if one.id != "d3.md")
        assert answer.usage.windows_in_collection == windows
        assert {source.document for source in reader.search("boats", "boat harbour fish", 100)} == set(TEXTS) - {
            "d3.md"
        }
        with pytest.raises(StoreError, match=r"d3\.md"):
            reader.ask("boats", "Which boat?", documents=["d3.md"])
        # The same content, with the same digest: as `rcc add` of the same file.
        added = reader.add("boats", TEXTS)
        assert added.restored == ["d3.md"] and sorted(added.unchanged) == sorted(set(TEXTS) - {"d3.md"})
        assert texts(reader) == TEXTS
        answer = reader.ask("boats", "Which boat?", documents=["d3.md"], max_new_tokens=2)
        assert answer.usage.windows > 0
        assert reader.verify(grace=0).problems == ()


def test_a_memory_that_is_gone_is_made_again_when_its_document_is_added_unchanged(path: Path) -> None:
    with open_reader(path) as reader:
        key = sorted(reader.store.document("boats", "d4.md").keys)[0]
        (path / "blobs" / key[:2] / f"{key}.safetensors").unlink()
        assert "d4.md" in reader.add("boats", TEXTS).restored
        assert reader.verify(grace=0).problems == ()


def test_memories_of_two_ratios_do_not_mix_when_a_collection_is_renamed_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with open_reader(path) as first, open_reader(path) as second:
        done = threading.Event()

        def swap(progress: Any) -> None:
            if progress.documents == 3 and not done.is_set():
                done.set()
                second.rename("c", "old")
                second.add("c", {"b.txt": TEXTS["d1.md"]}, ratio=1)

        documents = [
            Document(f"{number} {name}", f"{number} {text}") for number in range(8) for name, text in TEXTS.items()
        ]
        report = first.add("c", documents, on_progress=swap)
        assert done.is_set() and len(report.added) == len(documents)
        # What was begun goes on where it was begun, under its new name.
        assert len(first.documents("old")) == len(documents) and [one.id for one in first.documents("c")] == ["b.txt"]
        assert first.store.collection("old").model["ratio"] == 4 and first.store.collection("c").model["ratio"] == 1
        assert first.verify(grace=0).problems == ()


def test_a_collection_that_is_dropped_and_made_anew_meanwhile_takes_nothing_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with open_reader(path) as first, open_reader(path) as second:
        done = threading.Event()

        def swap(progress: Any) -> None:
            if progress.documents == 3 and not done.is_set():
                done.set()
                second.drop("c")
                second.add("c", {"b.txt": TEXTS["d1.md"]}, ratio=1)

        documents = [
            Document(f"{number} {name}", f"{number} {text}") for number in range(8) for name, text in TEXTS.items()
        ]
        with pytest.raises(RCCError, match="dropped"):
            first.add("c", documents, on_progress=swap)
        assert [one.id for one in first.documents("c")] == ["b.txt"]
        # Memories that were made for the next documents are of use to nobody.
        assert {problem.kind for problem in first.verify(grace=0).problems} <= {"unreferenced"}


def test_a_document_takes_no_memories_of_another_model(path: Path) -> None:
    with open_reader(path) as reader:
        here, other = reader.store.snapshot("boats"), reader.store.collection("more")
        record = here.documents[0]
        put = dict(windows=record.windows, tokens=record.tokens, digest="x")
        with pytest.raises(FingerprintMismatchError):
            reader.store.put_document(other, "new", TEXTS[record.id], **put)
        with pytest.raises(FingerprintMismatchError):
            reader.store.put_document("more", "new", TEXTS[record.id], **put)
        assert [one.id for one in reader.documents("more")] == ["a.md"]


def test_memories_of_two_models_that_mixed_before_are_found_and_not_answered_from(path: Path) -> None:
    """A store in which they mixed already: one model's window stands in a collection of another."""
    from rcc_integrations.memory import ledger
    from rcc_integrations.memory.index import Index

    with open_reader(path) as reader:
        boats, more = reader.store.snapshot("boats"), reader.store.collection("more")
        foreign = boats.documents[2]
    index = Index(path / "index")
    with index.write() as rows:
        ledger.set_document(rows, more.uid, foreign)
        value = more.to_json()
        value |= {"documents": 2, "revision": more.revision + 1}
        for field, amount in (("windows", len(foreign.windows)), ("tokens", foreign.tokens), ("slots", foreign.slots)):
            value[field] += amount
        rows.set(f"collection:{more.uid}", value)
        ledger.retain_blobs(rows, foreign.keys)
        row = ledger.text_row(rows, foreign.text_key)
        ledger.set_row(rows, ledger.TEXT + foreign.text_key, ledger.TextRow(row.bytes, row.count + 1))
    index.close()
    with open_reader(path) as reader:
        report = reader.verify()
        assert {problem.kind for problem in report.problems} == {"foreign-memory", "document-damaged"}
        with pytest.raises((FingerprintMismatchError, CorruptBlobError)):
            reader.ask("more", "Which boat?", documents=[foreign.id], max_new_tokens=1)
        assert reader.verify(repair=True, grace=0).ok
        assert reader.text("more", foreign.id) == TEXTS[foreign.id] and texts(reader) == TEXTS
        assert reader.ask("more", "Which boat?", documents=[foreign.id], max_new_tokens=1).usage.windows > 0
        assert reader.verify(grace=0).problems == ()


# Repair deletes nothing


def test_what_a_repair_takes_out_is_kept_with_the_reason(path: Path) -> None:
    with open_reader(path) as reader:
        documents = {record.id: record for record in reader.documents("boats")}
        uid = reader.store.collection("boats").uid
    forget_backups(path)
    stray = path / "texts" / "cd" / f"{'cd' * 32}.txt"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    text = path / "texts" / documents["d1.md"].text_key[:2] / f"{documents['d1.md'].text_key}.txt"
    text.write_bytes(b"changed")
    own = sorted(documents["d2.md"].keys)[0]
    blob = path / "blobs" / own[:2] / f"{own}.safetensors"
    blob.write_bytes(b"changed too")
    (path / "blobs" / ".writing-1-x").write_bytes(b"half")
    run(path, "UPDATE Cache SET value = replace(value, 'order', 'ordre') WHERE key = ?", f"document:{uid}:d7.md")
    before = {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with open_reader(path) as reader:
        dry = reader.verify(repair=True, grace=0, dry_run=True)
        assert not dry.ok and not any(problem.repaired for problem in dry.problems)
        assert {str(file): file.read_bytes() for file in path.rglob("*") if file.is_file()}.items() >= before.items()
        assert not (path / "lost+found").exists()
        report = reader.verify(repair=True, grace=0)
    said = {problem.where for problem in dry.problems if problem.action}
    done = {problem.where for problem in report.problems if problem.action}
    assert {str(stray), f"blob:{own}", f"text:{documents['d1.md'].text_key}"} <= said & done
    kept = {file.read_bytes() for file in (path / "lost+found").rglob("*") if file.is_file()}
    assert {b"stray", b"changed", b"changed too", b"half"} <= kept
    lost = records(path)
    assert all(one["why"] and one["time"] for one in lost)
    (row,) = [one for one in lost if one.get("row") == f"document:{uid}:d7.md"]
    assert "ordre" in row["value"] and documents["d7.md"].digest in row["value"]
    assert {one.document for one in report.damaged} == {"d1.md", "d7.md"}


def test_nothing_is_taken_out_while_a_file_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open
    with open_reader(path) as reader:
        keys = sorted(reader.store.document("boats", "d2.md").keys)
        (path / "blobs" / keys[0][:2] / f"{keys[0]}.safetensors").write_bytes(b"x")
        stray = path / "blobs" / "cd" / f"{'cd' * 32}.safetensors"
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(b"stray")
        there = sound_files(path)

        def fail(name: Any, *arguments: Any, **options: Any) -> int:
            if keys[-1] in str(name):
                raise OSError(5, "Input/output error")
            return real(name, *arguments, **options)

        monkeypatch.setattr(os, "open", fail)
        report = reader.store.verify(repair=True, grace=0)
        monkeypatch.undo()
        assert not report.ok and "unreadable" in {problem.kind for problem in report.problems}
        assert sound_files(path) == there and not (path / "lost+found").exists()
        assert reader.verify(repair=True, grace=0).ok and not stray.exists()


@pytest.mark.parametrize("field", ["documents", "windows", "tokens", "slots"])
def test_a_count_that_does_not_agree_with_its_rows_raises_on_use(path: Path, field: str) -> None:
    from rcc_integrations.memory.index import Index

    with open_reader(path) as reader:
        record = reader.store.collection("boats")
    index = Index(path / "index")
    with index.write() as rows:
        value = record.to_json()
        value[field] += 3
        rows.set(f"collection:{record.uid}", value)
    index.close()
    with open_reader(path) as reader:
        for use in (
            lambda: reader.documents("boats"),
            lambda: reader.ask("boats", "Which boat?"),
            lambda: reader.search("boats", "boat"),
        ):
            with pytest.raises(CorruptBlobError, match="counts"):
                use()
        reader.verify(repair=True)
        assert reader.verify(grace=0).problems == () and texts(reader) == TEXTS


@pytest.mark.parametrize("what", ["key", "folder", "page"])
def test_a_repair_does_not_end_early(path: Path, what: str) -> None:
    """One thing that cannot be put right does not keep the others from it."""
    with open_reader(path) as reader:
        keys = {id: sorted(reader.store.document("boats", id).keys) for id in ("d1.md", "d2.md")}
    broken = [path / "blobs" / key[:2] / f"{key}.safetensors" for key in (keys["d1.md"][0], keys["d2.md"][0])]
    broken[0].write_bytes(b"")
    if what == "key":
        run(path, "INSERT INTO Cache(key, raw, mode, value, tag) VALUES (CAST(x'626F6174FF' AS TEXT), 1, 1, '1', 'x')")
    elif what == "folder":
        broken[1].unlink()
        (broken[1] / "inner").mkdir(parents=True)
    else:
        leak_page(path)
    with open_reader(path) as reader:
        assert not reader.verify().ok
        report = reader.verify(repair=True, grace=0)
        assert report.ok, [problem for problem in report.problems if not problem.repaired]
        assert reader.verify(grace=0).problems == () and texts(reader) == TEXTS
        assert reader.ask("boats", "Which boat?", max_new_tokens=1).usage.windows


def leak_page(path: Path) -> None:
    """Make a database with a page that nothing uses, as a power cut or another program leaves it."""
    database = path / "index" / "cache.db"
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("PRAGMA journal_mode = delete")
    connection.close()
    data = bytearray(database.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    data += bytes(size)
    data[28:32] = (len(data) // size).to_bytes(4, "big")
    database.write_bytes(data)
    connection = sqlite3.connect(database)
    assert "never used" in str(connection.execute("PRAGMA integrity_check").fetchall())
    connection.execute("PRAGMA journal_mode = wal")
    connection.close()


def test_the_model_of_the_tests_is_the_one_that_stores_were_made_by() -> None:
    assert model().fingerprint(4) != tiny_model(seed=5).fingerprint(4)


# Under constant change


def test_questions_to_a_collection_that_changes_all_the_time_are_answered(path: Path) -> None:
    stop, changes = threading.Event(), [0]

    def change() -> None:
        with open_reader(path) as writer:
            while not stop.is_set():
                writer.add("boats", {"d0.md": TEXTS[f"d{changes[0] % 9 + 1}.md"]})
                changes[0] += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with open_reader(path) as reader:
            for number in range(12):
                answer = reader.ask("boats", f"Which boat is number {number}?", max_new_tokens=1, max_windows=100)
                assert answer.usage.windows > 0
    finally:
        stop.set()
        thread.join()
    assert changes[0] > 1


def test_a_collection_that_changes_too_fast_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rcc_integrations.errors import BlobsMissingError
    from rcc_integrations.reader import answering, collection_view

    with open_reader(path) as reader, open_reader(path) as writer:
        real, place = reader.store.text, [0]

        def change_first(key: str) -> str:
            """Every text goes between the look at its collection and the look at itself."""
            place[0] += 1
            writer.add("boats", {f"d{place[0] % 10}.md": f"text {place[0]}"})
            return real(key)

        monkeypatch.setattr(reader.store, "text", change_first)
        for module in (answering, collection_view):
            monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.0)
        with pytest.raises(StoreError, match="kept changing") as found:
            reader.ask("boats", "Which boat?", max_new_tokens=1)
        assert not isinstance(found.value, BlobsMissingError) and "verify" not in str(found.value)


def test_adding_goes_on_where_a_collection_is_renamed(path: Path) -> None:
    with open_reader(path) as reader, open_reader(path) as other:
        names = iter(["one", "two", "three", "four"])

        def rename(progress: Any) -> None:
            if progress.documents in (1, 4):
                collections = {record.uid: record.name for record in other.collections()}
                other.rename(collections[uid], next(names))

        uid = reader.store.collection("boats").uid
        texts = {f"new {number}": f"{text} {number}" for number, text in enumerate(TEXTS.values())}
        report = reader.add("boats", texts, on_progress=rename)
        assert report.added == list(texts) and report.collection is not None
        assert len(reader.store.documents(report.collection)) == 20
        assert {record.uid for record in reader.collections()} >= {uid} and reader.verify(grace=0).ok
