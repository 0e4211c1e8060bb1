from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rcc_integrations.errors import ConfigError, UnreadableFileError
from rcc_integrations.files import find_files

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """Make files of the given names below the working folder, each with text of its own."""
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> Path:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"text of {name}".encode())
        return tmp_path

    return make


def ids(*paths: str | Path, exclude: tuple[str, ...] = ()) -> list[str]:
    return [source.id for source in find_files(paths, exclude=exclude)[0]]


def reasons(*paths: str | Path) -> dict[str, str]:
    return {skipped.path: skipped.reason for skipped in find_files(paths)[1]}


def test_a_folder_is_searched_at_any_depth_in_order(tree: Tree) -> None:
    tree("docs/b.md", "docs/a/z.txt", "docs/a-b.md", "docs/a/b/c/d.py")
    assert ids("docs") == ["a/b/c/d.py", "a/z.txt", "a-b.md", "b.md"]
    assert ids("docs/") == ids("./docs") == ids(Path("docs").absolute()) == ids("docs")
    sources, skipped = find_files("docs")
    assert [source.source for source in sources][-1] == "docs/b.md"
    assert skipped == []


def test_a_single_file_goes_by_its_name_even_if_hidden(tree: Tree) -> None:
    tree("docs/a/b.md", "docs/.notes")
    assert ids("docs/a/b.md", "docs/.notes") == ["b.md", ".notes"]


def test_globs(tree: Tree) -> None:
    tree("docs/a.md", "docs/x/b.md", "docs/x/c.txt", "docs/.h/d.md", "docs/x/.e.md", "a.md")
    assert ids("docs/**/*.md") == ["a.md", "x/b.md"]
    assert ids("docs/*.md") == ["a.md"]
    assert ids("docs/**") == ["a.md", "x/b.md", "x/c.txt"]
    assert ids("docs/.*/*.md") == [".h/d.md"]
    assert ids("*.md") == ["a.md"]
    assert ids("d[o]cs/?/[bc].*") == ["docs/x/b.md", "docs/x/c.txt"]


def test_a_name_with_wildcards_that_exists_is_no_glob(tree: Tree) -> None:
    tree("a[1].md", "a1.md")
    assert ids("a[1].md") == ["a[1].md"]


def test_excludes_drop_files_folders_and_named_inputs(tree: Tree) -> None:
    tree("docs/a.md", "docs/a.log", "docs/drafts/b.md", "docs/x/drafts/c.md", "docs/x/d.md", "e.log")
    assert ids("docs", "e.log", exclude=("*.log", "drafts")) == ["a.md", "x/d.md"]
    assert ids("docs", exclude=("docs/x", "drafts/*")) == ["a.log", "a.md"]
    assert ids("docs/**/*.md", exclude=("x/drafts",)) == ["a.md", "drafts/b.md", "x/d.md"]


def test_what_is_hidden_or_generated_is_left_out_and_said(tree: Tree) -> None:
    tree("d/.git/config", "d/.env", "d/node_modules/x.js", "d/p/__pycache__/x.py", "d/~$a.docx", "d/a.md")
    tree("d/env/pyvenv.cfg", "d/env/lib/x.py", "d/mem/store.json", "d/mem/blobs/x", "d/mem/texts/x.txt")
    sources, skipped = find_files(["d"])
    assert [source.id for source in sources] == ["a.md"]
    assert {item.path: item.reason for item in skipped} == {
        "d/.env": "a hidden file",
        "d/.git": "a hidden folder",
        "d/env": "a virtual environment",
        "d/mem": "a memory store",
        "d/node_modules": "a generated folder",
        "d/p/__pycache__": "a generated folder",
        "d/~$a.docx": "a lock file of an open document",
    }
    assert [item.path for item in skipped] == sorted(item.path for item in skipped)
    assert all(item.routine for item in skipped)


def test_what_cannot_be_read_is_said_with_the_reason(tree: Tree) -> None:
    root = tree("d/a.md", "d/b.xlsx", "d/c.svg")
    (root / "d/empty.txt").touch()
    (root / "d/blank.md").write_bytes(b" \n\t\n")
    (root / "d/data.bin").write_bytes(bytes(range(256)))
    (root / "d/noise.txt").write_bytes(b"\x01\x02ab" * 50)
    (root / "d/loop").symlink_to("loop")
    (root / "d/gone").symlink_to("nowhere")
    os.mkfifo(root / "d/pipe")
    sources, skipped = find_files(["d"])
    assert [source.id for source in sources] == ["a.md"]
    found = {item.path: item.reason for item in skipped}
    assert found["d/b.xlsx"] == ".xlsx files are not supported: save it as .csv"
    assert "a picture" in found["d/c.svg"]
    assert found["d/empty.txt"] == found["d/blank.md"] == "empty: there is no text in it"
    assert "NUL" in found["d/data.bin"]
    assert "control characters" in found["d/noise.txt"]
    assert "symbolic links" in found["d/loop"]
    assert "No such file" in found["d/gone"]
    assert "no regular file" in found["d/pipe"]
    assert len(found) == len(skipped) == 9
    assert not any(item.routine for item in skipped)


def test_the_size_limit_is_in_bytes_and_inclusive(tree: Tree) -> None:
    root = tree()
    (root / "a.txt").write_bytes(b"x" * 1000)
    assert find_files("a.txt", limit=1000)[1] == []
    sources, skipped = find_files("a.txt", limit=999)
    assert sources == []
    assert "too large: over the limit of 0.000952721 MiB" in skipped[0].reason
    with pytest.raises(ConfigError, match="at least one byte, not 0"):
        find_files("a.txt", limit=0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_files_and_folders_without_permission_are_named(tree: Tree) -> None:
    root = tree("d/a.md", "d/locked.md", "d/closed/b.md")
    (root / "d/locked.md").chmod(0)
    (root / "d/closed").chmod(0)
    mine = os.geteuid()
    try:
        if mine == 0:  # root may read everything, so this part runs as nobody
            for folder in (root, *root.parents):
                if folder.name.startswith(("test_", "pytest-")):
                    folder.chmod(0o755)
            os.seteuid(65534)
            if not os.access(root, os.X_OK, effective_ids=True):
                pytest.skip("the folder for temporary files is closed to other users")
        sources, skipped = find_files(["d"])
        direct = find_files(["d/closed/b.md"])[1]
    finally:
        os.seteuid(mine)
        (root / "d/closed").chmod(0o755)
    assert [source.id for source in sources] == ["a.md"]
    assert {item.path: item.reason for item in skipped} == {
        "d/closed": "the folder cannot be read: Permission denied",
        "d/locked.md": "cannot be read: Permission denied",
    }
    assert direct[0].reason == "cannot be read: Permission denied"


def test_links_to_files_are_followed_inside_the_folder_and_each_file_is_read_once(tree: Tree) -> None:
    root = tree("d/z/real.md", "out/far.md")
    (root / "d/a.md").symlink_to("z/real.md")
    (root / "d/far.md").symlink_to("../out/far.md")
    (root / "d/passwd").symlink_to("/etc/passwd")
    (root / "d/folder").symlink_to("../out")
    twin = ("d/a.md", "the same file as 'z/real.md', which is read", True)
    sources, skipped = find_files(["d"])
    assert [source.id for source in sources] == ["z/real.md"]
    told = {item.path: item for item in skipped}
    assert (told["d/a.md"].path, told["d/a.md"].reason, told["d/a.md"].routine) == twin
    for name in ("d/far.md", "d/passwd"):
        assert "outside the folder: --follow-links reads it" in told[name].reason and not told[name].routine
    # A glob is as a folder; a link that is named itself is meant.
    assert ids("d/*.md") == ["a.md"] and ids("d/far.md") == ["far.md"]
    sources, skipped = find_files(["d"], follow_links=True)
    assert [source.id for source in sources] == ["far.md", "passwd", "z/real.md"]


@pytest.mark.skipif(not os.path.exists("/proc/kmsg"), reason="Linux has it")
def test_a_file_that_never_comes_to_an_end_is_not_waited_for(tree: Tree) -> None:
    root = tree("d/a.md")
    (root / "d/kernel").symlink_to("/proc/kmsg")
    os.mkfifo(root / "d/pipe")
    sources, skipped = find_files(["d"], follow_links=True)
    for source in sources:
        try:
            source.read()
        except UnreadableFileError as error:
            assert source.id == "kernel" and "cannot be read" in str(error)
    assert "d/pipe" in {item.path for item in skipped}


def test_two_names_that_differ_in_their_normal_form_alone_are_two_documents(tree: Tree) -> None:
    composed, apart = "caf\u00e9.md", "cafe\u0301.md"
    tree(f"d/{composed}", f"d/{apart}", "d/other.md")
    if len(os.listdir("d")) == 2:
        pytest.skip("this file system takes both for one name")
    sources, skipped = find_files(["d"])
    assert {source.id: source.path.name for source in sources} == {
        composed: composed,
        apart: apart,
        "other.md": "other.md",
    }
    assert not skipped
    assert sorted(ids(f"d/{apart}", f"d/{composed}")) == sorted([apart, composed])


def test_links_to_folders_make_no_loop_and_lead_nowhere(tree: Tree) -> None:
    root = tree("d/x/a.md", "out/b.md")
    (root / "d/x/up").symlink_to("..")
    (root / "d/out").symlink_to("../out")
    assert ids("d") == ["x/a.md"]
    assert set(reasons("d")) == {"d/x/up", "d/out"}
    assert ids("d/out") == ["b.md"]


def test_the_same_file_given_twice_is_read_once(tree: Tree) -> None:
    tree("d/a.md", "d/b.md", "d/e.xlsx")
    assert ids("d", "d", "d/a.md", "d/*.md") == ["a.md", "b.md"]
    assert ids("d/b.md", "d") == ["b.md", "a.md"]
    assert len(find_files(["d", "d", "d/e.xlsx"])[1]) == 1


def test_two_files_of_one_id_are_refused_with_both_named(tree: Tree) -> None:
    tree("a/README.md", "b/README.md")
    with pytest.raises(ConfigError, match=r"'a/README\.md' and 'b/README\.md' would both become .* 'README\.md'"):
        find_files(["a", "b"])
    assert ids("*/README.md") == ["a/README.md", "b/README.md"]


def test_a_missing_path_is_refused_with_what_was_meant(tree: Tree) -> None:
    tree("docs/handbook.md")
    with pytest.raises(ConfigError, match=r"no file or folder 'docs/handbok\.md'. Did you mean 'docs/handbook\.md'\?"):
        find_files(["docs/handbok.md"])
    with pytest.raises(ConfigError, match=r"no file or folder 'docs/handbook\.md/x'"):
        find_files(["docs/handbook.md/x"])
    with pytest.raises(ConfigError, match=r"'docs/\*\.txt' matches no file below 'docs'"):
        find_files(["docs/*.txt"])
    with pytest.raises(ConfigError, match=r"there is no folder 'dos'\. Did you mean 'docs'"):
        find_files(["dos/*.md"])


@pytest.mark.parametrize("path", ["", "  ", "a\0b"])
def test_a_path_that_names_nothing_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match="names nothing"):
        find_files([path])


def test_an_empty_folder_gives_nothing(tree: Tree) -> None:
    (tree() / "d").mkdir()
    assert find_files("d") == ([], [])


def test_a_broken_link_is_named(tree: Tree) -> None:
    (tree() / "gone.md").symlink_to("nowhere.md")
    assert reasons("gone.md") == {"gone.md": "a broken symbolic link to nowhere.md"}


def test_standard_input_is_read_once_and_its_name_tells_the_kind() -> None:
    stream = io.BytesIO(b"<title>T</title><p>from a pipe")
    sources, skipped = find_files(["-", "-"], stdin=stream, stdin_name="page.html")
    assert skipped == []
    (source,) = sources
    document = source.read()
    assert (document.id, document.text) == ("page.html", "from a pipe")
    assert document.metadata == {"source": "-", "kind": "html", "title": "T"}
    assert document.digest == source.digest


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"\0\1", "NUL"), (b"x" * 11, "too large")])
def test_standard_input_that_cannot_be_read_is_said(data: bytes, reason: str) -> None:
    sources, skipped = find_files(["-"], stdin=io.BytesIO(data), limit=10)
    assert sources == []
    assert skipped[0].path == "-"
    assert reason in skipped[0].reason


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_names_that_can_be_no_ids_are_named_in_a_printable_form(tree: Tree) -> None:
    root = tree("d/a.md", "d/new\nline.md")
    with open(os.fsencode(root / "d") + b"/latin\xe9.md", "wb") as file:
        file.write(b"text")
    sources, skipped = find_files(["d"])
    assert [source.id for source in sources] == ["a.md"]
    assert [str(item) for item in skipped] == [
        r"d/latin\xe9.md: its name holds bytes that are no UTF-8: rename it",
        r"d/new\x0aline.md: its name holds a control character or line break: rename it",
    ]


def test_ids_are_composed_so_that_every_system_gives_the_same(tree: Tree) -> None:
    tree("d/cafe\u0301.md")
    assert ids("d") == ["caf\u00e9.md"]
