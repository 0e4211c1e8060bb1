"""The visible text of a parsed HTML page."""

from __future__ import annotations

from bs4 import BeautifulSoup, Tag
from bs4.element import CData, NavigableString, PageElement, PreformattedString

from rcc_integrations.files.parsed import tidy

_DROPPED = [
    *("head", "title", "script", "style", "noscript", "template", "nav", "menu", "dialog"),
    *("iframe", "object", "embed", "canvas", "svg", "audio", "video", "map"),
    *("button", "input", "select", "datalist"),
]
_APART = frozenset(
    (
        *(
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "p",
            "blockquote",
            "pre",
            "textarea",
            "table",
            "ul",
            "ol",
            "dl",
            "figure",
        ),
        *("hr", "section", "article", "main", "fieldset"),
    )
)
_BLOCK = frozenset(
    (
        *(
            "address",
            "aside",
            "body",
            "caption",
            "center",
            "dd",
            "details",
            "div",
            "dt",
            "figcaption",
            "footer",
            "form",
        ),
        *("header", "html", "legend", "li", "summary", "tbody", "td", "tfoot", "th", "thead", "tr"),
    )
)
_VERBATIM = ("pre", "textarea")
# A row that holds one of these lays out a page instead of tabulating facts; its cells are read as blocks.
_NOT_IN_ROW = ["table", "h1", "h2", "h3", "h4", "h5", "h6", "pre"]


def page_text(soup: BeautifulSoup) -> str:
    """Return what a reader of the page sees; parts that are not read are removed from the soup.

    Args:
        soup: The parsed page. No recursion is used, so that its nesting may be of any depth.
    """
    for tag in [*soup.find_all(_DROPPED), *soup.find_all(_is_hidden)]:
        if not tag.decomposed:
            tag.decompose()
    page = _Page()
    todo: list[PageElement | tuple[Tag]] = [soup]
    while todo:
        item = todo.pop()
        if isinstance(item, tuple):
            page.leave(item[0])
        elif isinstance(item, Tag):
            page.enter(item)
            todo.append((item,))
            todo.extend(reversed(item.contents))
        # Comments, doctypes and declarations are preformatted strings as well; CDATA alone is text.
        elif isinstance(item, NavigableString) and (
            isinstance(item, CData) or not isinstance(item, PreformattedString)
        ):
            page.write(str(item))
    return tidy("".join(page.pieces))


def _is_hidden(tag: Tag) -> bool:
    if tag.has_attr("hidden") and tag.get("hidden") != "until-found":
        return True
    if tag.get("role") == "navigation" or "headerlink" in tag.get_attribute_list("class"):
        return True
    style = "".join(str(tag.get("style", "")).lower().split())
    return "display:none" in style or "visibility:hidden" in style


class _Page:
    """Collects text with HTML's rules for white space."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._cells: list[int | None] = []  # for each open table row, cells so far, or None where it lays out a page
        self._verbatim = 0
        self._newlines = 2  # at the end of what was collected; the start counts as an empty line
        self._space = True  # the end is white space, so that more of it says nothing
        self._marker = False  # a list item's dash waits for its text

    def enter(self, tag: Tag) -> None:
        if tag.name == "br":
            self._put(" " if self._in_line else "\n")
        elif tag.name == "tr":
            self._break(1, even_in_line=True)
            self._cells.append(0 if self._in_line or tag.find(_NOT_IN_ROW) is None else None)
        elif tag.name in ("td", "th") and self._in_line:
            cells = self._cells[-1] or 0
            self._cells[-1] = cells + 1
            if cells:
                self._put("| " if self._space else " | ")
        else:
            self._edge(tag)
            self._verbatim += tag.name in _VERBATIM
            if tag.name == "li" and not self._in_line and not self._marker:
                self._put("- ")
                self._marker = True

    def leave(self, tag: Tag) -> None:
        if tag.name == "tr":
            self._cells.pop()
            self._break(1, even_in_line=True)
        elif tag.name not in ("td", "th") or not self._in_line:
            self._verbatim -= tag.name in _VERBATIM
            if tag.name == "li" and self._marker:
                self.pieces.pop()
                self._marker, self._newlines, self._space = False, 1, True
            self._edge(tag)

    def write(self, text: str) -> None:
        words = text if self._verbatim else " ".join(text.split())
        if text[:1].isspace() and not self._space and not self._verbatim:
            self._put(" ")
        if words:
            self._marker = self._marker and not words.strip()
            self._put(words)
            if text[-1].isspace() and not self._verbatim:
                self._put(" ")

    @property
    def _in_line(self) -> bool:
        return bool(self._cells) and self._cells[-1] is not None

    def _edge(self, tag: Tag) -> None:
        if tag.name in _APART:
            self._break(2)
        elif tag.name in _BLOCK:
            self._break(1)

    def _break(self, newlines: int, *, even_in_line: bool = False) -> None:
        if self._marker:
            return
        if self._in_line and not even_in_line:
            if not self._space:
                self._put(" ")
        elif self._newlines < newlines:
            self._put("\n" * (newlines - self._newlines))

    def _put(self, text: str) -> None:
        self.pieces.append(text)
        ending = len(text) - len(text.rstrip("\n"))
        self._newlines = self._newlines + ending if ending == len(text) else ending
        self._space = text[-1].isspace()
