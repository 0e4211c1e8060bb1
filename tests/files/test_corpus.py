from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.corpus import SUFFIXES, build, pieces
from rcc_integrations.errors import UnreadableFileError
from rcc_integrations.files import find_files


def test_the_corpus_is_readable_in_every_kind_and_its_odd_files_are_refused(tmp_path: Path) -> None:
    written = build(tmp_path / "corpus", min_files=18, min_tokens_estimate=20_000)
    sources, skipped = find_files(tmp_path / "corpus")
    assert {Path(item.path).name for item in skipped} == {"binary.bin", "empty.txt"}
    assert len(sources) + len(skipped) == len(written)
    assert set(SUFFIXES) <= set(Counter(path.suffix for path in written))
    by_id = {source.id: source for source in sources}
    with pytest.raises(UnreadableFileError, match=r"fake\.pdf cannot be read as PDF"):
        by_id.pop("odd/fake.pdf").read()
    latin = by_id.pop("odd/latin1.txt").read()
    assert latin.text.startswith("Le café crème coûte 3 euros à Zürich.")
    texts = [source.read().text for source in by_id.values()]
    assert len(texts) >= 18
    # White space is all that differs from what was written: HTML collapses it.
    assert all(700 <= len(text) <= 20_000 for text in texts)
    assert sum(map(len, texts)) > 0.8 * 80_000


def test_the_corpus_is_the_same_each_time(tmp_path: Path) -> None:
    first = build(tmp_path / "a", min_files=6, min_tokens_estimate=1)
    second = build(tmp_path / "b", min_files=6, min_tokens_estimate=1)
    assert [path.name for path in first] == [path.name for path in second]
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(first, second, strict=True))


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty"):
        build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_texts_are_cut_between_paragraphs() -> None:
    paragraph = "x" * 6_000
    assert [len(piece) for piece in pieces("\n\n".join([paragraph] * 5))] == [18_005, 12_003]
    assert list(pieces("short")) == []
    assert list(pieces("y" * 20_001)) == []
