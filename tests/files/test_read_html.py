from __future__ import annotations

import sys

import pytest

from rcc_integrations.errors import EmptyDocumentError, MissingExtraError, UnreadableFileError
from rcc_integrations.files.read_html import read_html


def text_of(body: str) -> str:
    return read_html(body.encode(), "a.html").text


def test_a_page_is_read_as_its_reader_sees_it() -> None:
    page = """<?xml version="1.0"?><!DOCTYPE html><html><head><title>Ferry
        times</title><style>p {}</style></head><body><nav><a href="/">Home</a></nav>
        <h1>The  ferry<a class="headerlink" href="#x">¶</a></h1><p>It <b>leaves</b> at
        7:45.<br>Daily.<p>Unclosed <script>track()</script>text<!-- secret -->
        <div hidden>hidden</div><div style="display : none">hidden</div><div role="navigation">Menu</div>
        <noscript>Enable scripts</noscript><button>Buy</button></body></html>"""
    parsed = read_html(page.encode(), "a.html")
    assert parsed.text == "The ferry\n\nIt leaves at 7:45.\nDaily.\n\nUnclosed text"
    assert parsed.metadata == {"title": "Ferry times"}


def test_inline_tags_do_not_break_words_or_lines() -> None:
    assert text_of("<p>mid<b>dle</b> of<i> a</i> <span>word</span></p>") == "middle of a word"


def test_lists_and_definitions() -> None:
    page = "<ul><li>one<li><p>two</p><p>more</p><li></ul><ol><li><ul><li>deep</ul></ol><dl><dt>A<dd>B</dl>"
    assert text_of(page) == "- one\n- two\n\nmore\n\n- deep\n\nA\nB"


def test_tables_are_read_row_by_row() -> None:
    page = """<table><caption>Prices</caption><thead><tr><th>Place</th><th>Price</th></tr></thead>
        <tr><td><p>Holm</p></td><td>12 <b>euros</b><ul><li>a<li>b</ul></td></tr><tr><td>open<tr><td>b<td>c</table>"""
    assert text_of(page) == "Prices\nPlace | Price\nHolm | 12 euros a b\nopen\nb | c"


def test_a_table_that_lays_out_the_page_is_read_as_blocks() -> None:
    page = "<table><tr><td><h2>Head</h2><p>one</p><table><tr><td>1<td>2</table></td><td>side</td></tr></table>"
    assert text_of(page) == "Head\n\none\n\n1 | 2\n\nside"


def test_preformatted_text_keeps_its_spaces() -> None:
    assert text_of("<p>so:</p><pre>a\n    b   c\n</pre><p>end</p>") == "so:\n\na\n    b   c\n\nend"


def test_entities_and_characters_that_html_forbids() -> None:
    assert text_of("<p>&eacute;&amp;&lt;&#0;&#xD800;&nbsp;x") == "é&<\ufffd\ufffd x"


def test_the_declared_encoding_is_used() -> None:
    page = '<meta charset="iso-8859-2"><p>Pečivo'.encode("iso8859-2")
    parsed = read_html(page, "a.html")
    assert parsed.text == "Pečivo"
    assert parsed.metadata == {"encoding": "iso-8859-2"}
    quoted = "<meta charset=iso-8859-1><p>“12 €”".encode("cp1252")
    assert read_html(quoted, "a.html").text == "“12 €”"


def test_the_first_heading_stands_in_for_a_title() -> None:
    assert read_html(b"<title> </title><h1>The <i>ferry</i></h1>", "a.html").metadata == {"title": "The ferry"}


@pytest.mark.parametrize("page", ["<script>build()</script>", "<nav>Home</nav>", "<!-- x -->", "<html></html>"])
def test_a_page_without_text_is_said_to_be_empty(page: str) -> None:
    with pytest.raises(EmptyDocumentError, match=r"a\.html holds no text"):
        text_of(page)


def test_nesting_of_any_depth_is_read() -> None:
    assert text_of("<div>" * 20_000 + "deep") == "deep"
    assert text_of("<nav>" * 5_000 + "x" + "</nav>" * 5_000 + "after") == "after"


def test_rows_that_are_never_closed_are_no_trap() -> None:
    assert text_of("<table>" + "<tr><td>a<td>b" * 3_000).count("a | b\n") == 2_999


def test_binary_data_is_refused() -> None:
    with pytest.raises(UnreadableFileError, match="NUL"):
        read_html(b"<p>\0\0", "a.html")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bs4", None)
    with pytest.raises(MissingExtraError, match=r"beautifulsoup4.*\[files\]"):
        text_of("<p>x")
